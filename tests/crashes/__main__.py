"""`python -m tests.crashes`: strike training runs, and say whether resuming is exact.

python -m tests.crashes --times 100 --out crashes.md
"""

import os
import warnings
from pathlib import Path
from typing import Annotated

import typer

from charlm.data.system import console
from charlm.data.system.errors import SettingsError, TrainingError

app = console.make_app()


@app.command()
def strike(
    times: Annotated[int, typer.Option(help="Kills; faults of the disk come on top.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    out: Annotated[Path | None, typer.Option(help="File for the report, in Markdown.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No line a strike.")] = False,
) -> None:
    """Kill training, fill its disk, close its folder; resume; compare with an unbroken run."""
    if not hasattr(os, "fork"):
        raise SettingsError("this needs fork and SIGKILL, which this system lacks")
    if times < 1:
        raise SettingsError(f"--times is at least 1, not {times}")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"  # a process with threads can't be forked safely
    warnings.simplefilter("ignore", DeprecationWarning)  # says so, of threads that do nothing
    from charlm.benchmarks.harness import machine
    from charlm.data.system.files import write_text
    from tests.crashes import campaign, page

    _import_once()
    done = campaign.wage(times, seed, (lambda _: None) if quiet else _show)
    report = page.as_markdown(done, seed, machine.describe("cpu"))
    typer.echo(report)
    if out is not None:
        write_text(out, report)
    if not done.passed:
        raise TrainingError("resuming was not exact, or left something unreadable: see above")


def _import_once() -> None:
    """What every training process would import."""
    import torch

    from charlm.train import run

    del run
    torch.set_num_threads(1)


def _show(hit: object) -> None:
    console.say(str(hit))


def main() -> None:
    """Entry point."""
    console.run(app, "crashes")


if __name__ == "__main__":
    main()
