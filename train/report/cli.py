"""`charlm-report`: parse, measure, write."""

from pathlib import Path
from typing import Annotated

import typer

from charlm.data.system import console

GROUPS = {
    "Text": "corpus",
    "Output": "out",
    "Measuring": "seconds sample seed",
    "Hardware": "threads",
}
EXAMPLES = {
    "charlm-report runs/book": "Measure a run, and write runs/book/report.html:",
    "charlm-report runs/book --seconds 300 --out report": "Read more, and write elsewhere:",
    "charlm-report runs/book --corpus texts/book.txt": "Where the text has moved:",
}
app = console.make_app()


@app.command(cls=console.grouped(GROUPS, EXAMPLES))
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    corpus: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="TEXT",
            help="The text that the run was trained on; again for further files.",
            show_default="where it was",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the files go.", show_default="the run folder")
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(help="Characters to draw at temperature 1.", show_default="up to 100000"),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            help="What measuring may take, roughly: more reads more.",
            show_default="a tenth of the training, 5 to 60",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the samples.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    debug: console.Debug = False,
    version: console.Version = False,
) -> None:
    """Report how good a run is, why, and what to try next: a page, Markdown, and figures."""
    del debug, version
    from charlm.data.system.extras import require_there

    require_there("train", "torch", "safetensors", "matplotlib")
    from rich.console import Console

    from charlm.train.report.output import ReportRequest, make_report
    from charlm.train.report.sections import verdict

    request = ReportRequest(run, tuple(corpus or ()), out, sample, seconds, seed, threads)
    shown = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    with shown.status("") as status:
        done = make_report(request, status.update)
    console.say(f"{run}: {verdict(done.evidence)}")
    for advice in done.evidence.advice[:1]:
        console.say(f"{run}: next: {advice.what} ({advice.because})")
        if advice.command:
            console.say(f"  {advice.command}")
    console.say(f"wrote {done.page}")


def main() -> None:
    """Entry point of the command."""
    console.run(app, "charlm-report")


if __name__ == "__main__":
    main()
