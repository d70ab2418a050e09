"""`charlm-bench`: parse, measure, write the report."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from charlm.data.system import console
from charlm.data.system.errors import CharlmError, SettingsError

GROUPS = {
    "Run": "out quick rounds only",
    "Model": "model text",
    "Hardware": "provider threads",
    "Reports that exist": "table render",
}
EXAMPLES = {
    "charlm-bench --quick": "A try-out of a minute:",
    "charlm-bench --model model.onnx --out results": "A model of your own, measured in full:",
    "charlm-bench --table results/report.json": "The table of a report:",
}
app = console.make_app()


@app.command(cls=console.grouped(GROUPS, EXAMPLES))
def bench(
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the report.", show_default="benchmark-results/<date>-<processor>"
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Model file.", show_default="the one that ships")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Trials of each case.", show_default="15")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Measure only this case or sweep, or: limits, processes. Repeatable; a wrong name "
            "lists them all."
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A try-out; its figures are noise.")
    ] = False,
    provider: Annotated[
        str, typer.Option(help="cpu, or cuda to measure charlm there too.")
    ] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads, and cores, of each case.")] = 1,
    text: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Text that the model was not trained on, to tell what a precision costs.",
            show_default="the corpus that ships",
        ),
    ] = None,
    render: Annotated[
        Path | None,
        typer.Option(
            metavar="REPORT.json",
            help="Measure nothing: write this report's HTML and Markdown again, to --out or "
            "where it is.",
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(metavar="REPORT.json", help="Measure nothing: print this report's table."),
    ] = None,
    debug: console.Debug = False,
    version: console.Version = False,
) -> None:
    """Measure this machine: charlm, the notebook that it grew out of, and the limit."""
    del debug, version
    if table is not None:
        from charlm.benchmarks.report import page, report

        with _fitting(table):
            print(page.figures(report.load(table), every=False))
        return
    if render is not None:
        from charlm.benchmarks import suite
        from charlm.benchmarks.report import report

        folder = out or render.parent
        with _fitting(render):
            names = suite.write(report.load(render), folder)
        for name in names:
            console.say(f"wrote {folder / name}")
        return
    if provider == "cuda":
        from charlm.infer.model import providers

        providers.choose(provider)  # says now why it can't run here
    from charlm.benchmarks import plan as plans
    from charlm.benchmarks import suite
    from charlm.benchmarks.report import page
    from charlm.data.text.corpus import SAMPLE
    from charlm.infer.model.shipped import find_model, shipped_model

    plan = plans.BenchPlan(
        model=find_model(model) if model else shipped_model(),
        provider=provider,
        threads=threads,
        only=tuple(only or ()),
        text=text or SAMPLE,
    )
    plan = plans.quick(plan) if quick else plan
    plan = plan if rounds is None else replace(plan, rounds=rounds)
    print(page.figures(suite.measure_and_write(plan, out, console.say), every=bool(only)))


@contextlib.contextmanager
def _fitting(path: Path) -> Iterator[None]:
    """What is wrong with a report's fields together is one line."""
    try:
        yield
    except (CharlmError, OSError):
        raise
    except Exception as problem:
        raise SettingsError(f"{path}: its fields do not fit together: {problem}") from problem


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of the command."""
    signal.signal(signal.SIGTERM, _interrupt)  # workers and the temporary folder are cleared away
    console.run(app, "charlm-bench")


if __name__ == "__main__":
    main()
