"""`python -m charlm.benchmarks.large_corpus`: train on gigabytes, and watch the memory.

python -m charlm.benchmarks.large_corpus --megabytes 2000 --minutes 4 --out large-corpus.md
"""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from charlm.data import console
from charlm.data.errors import SettingsError, TrainingError

SMALL = 20  # megabytes of the text that the large one is compared with
LEAST_MINUTES = 0.5  # less leaves little behind the warm-up
app = console.make_app()


@app.command()
def measure(
    megabytes: Annotated[int, typer.Option(help="Of the large text.")] = 2000,
    minutes: Annotated[float, typer.Option(help="Of training on each text.")] = 4.0,
    hidden: Annotated[int, typer.Option(help="Units.")] = 64,
    flat: Annotated[float, typer.Option(help="MiB that the memory may vary by.")] = 64.0,
    out: Annotated[Path | None, typer.Option(help="File for the report, in Markdown.")] = None,
    scratch: Annotated[Path | None, typer.Option(help="Folder with room for twice that.")] = None,
) -> None:
    """Write a text of so many megabytes and a small one, train on each, and report the memory."""
    if not Path("/proc/self/status").exists():
        raise SettingsError("this reads /proc, which this system lacks")
    if megabytes <= SMALL:
        raise SettingsError(
            f"--megabytes is above {SMALL}, the small text's that it is compared with, "
            f"not {megabytes}"
        )
    if not minutes >= LEAST_MINUTES:
        raise SettingsError(f"--minutes is at least {LEAST_MINUTES:g}, not {minutes:g}")
    from charlm.benchmarks import machine
    from charlm.benchmarks.large_corpus import page, text
    from charlm.benchmarks.large_corpus.watch import Watched, watch
    from charlm.data.files import write_text

    runs: dict[int, Watched] = {}
    with tempfile.TemporaryDirectory(prefix="charlm-large-", dir=scratch) as place:
        for size in (SMALL * 1_000_000, megabytes * 1_000_000):
            path = Path(place, f"{size}.txt")
            text.write(path, size)
            options = ["--out", str(Path(place, str(size))), "--minutes", str(minutes)]
            options += ["--hidden", str(hidden), "--threads", "1", "--device", "cpu", "--no-report"]
            runs[size] = watch([str(path), *options], Path(place, "stderr"))
        report = page.as_markdown(
            runs,
            f"python -m charlm.benchmarks.large_corpus --megabytes {megabytes} "
            f"--minutes {minutes:g} --hidden {hidden}",
            machine.describe("cpu"),
        ).replace(f"{place}/", "")
    typer.echo(report)
    if out is not None:
        write_text(out, report)
    own = [sample.anonymous for sample in page.steady(runs[megabytes * 1_000_000])]
    if max(own) - min(own) > flat * page.MIB:
        raise TrainingError(f"the memory of training varies by more than {flat:g} MiB: see above")


def main() -> None:
    """Entry point."""
    console.run(app, "large_corpus")


if __name__ == "__main__":
    main()
