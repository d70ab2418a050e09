"""How soon a training run reaches a quality: whole `charlm-train` processes, by the clock.

First every way of running a step is timed on the same short run, and the fastest of those that
learn as well as the best is chosen; then
runs of several sizes and lengths are made with it. Nothing is left out of a time: the process's
start, the text, training, and the scoring of the held-out last 5 %.

    python -m charlm.benchmarks.time_to_bits lovecraft.txt --device cuda --out DIR
"""

import json
import math
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from charlm.benchmarks.harness import machine
from charlm.benchmarks.harness.machine import Machine
from charlm.data.pages.markdown import lay_out
from charlm.data.pages.table import Row, Table, table
from charlm.data.system import console
from charlm.data.system.errors import SettingsError
from charlm.data.system.files import os_errors_as, write_text
from charlm.data.system.package import command_of
from charlm.train.setup.defaults import HELD_BACK

app = console.make_app()

AS_THE_NOTEBOOK = ("--case", "lower", "--newlines", "drop")
TOO_LONG = 120.0  # seconds of one run
AS_GOOD = 0.03  # bits per character by which a way may be worse than another for being faster


@dataclass(frozen=True)
class Way:
    """How a step is run."""

    step: str = "eager"
    precision: str = "float32"

    def options(self) -> list[str]:
        """Those of `charlm-train`."""
        precision = {
            "float32": [],
            "tf32": ["--tf32"],
            "bf16": ["--autocast", "bf16", "--tf32"],  # Muon's products are no part of autocast
        }
        return ["--step", self.step, *precision[self.precision]]


@dataclass(frozen=True)
class Size:
    """What is trained, and for how long."""

    hidden: int
    batch_size: int
    epochs: int
    seq_len: int = 96

    def options(self) -> list[str]:
        """Those of `charlm-train`."""
        return [
            "--hidden", str(self.hidden), "--batch-size", str(self.batch_size),
            "--epochs", str(self.epochs), "--seq-len", str(self.seq_len),
            # A few epochs of a long text are not learnt by heart.
            *(word for name in HELD_BACK for word in (f"--{name.replace('_', '-')}", "0")),
        ]  # fmt: skip


WAYS = {
    "cuda": (
        Way("eager", "float32"), Way("eager", "tf32"), Way("eager", "bf16"),
        Way("graph", "float32"), Way("graph", "tf32"), Way("graph", "bf16"),
        Way("compiled", "tf32"),  # of the loss alone: the LSTM is one call already
    ),
    "cpu": (Way(), Way("compiled")),
}  # fmt: skip
SHORT = Size(hidden=512, batch_size=64, epochs=3)  # the first epoch compiles, records and warms up
SIZES = {
    "cuda": (
        Size(192, 32, 1), Size(192, 64, 2), Size(192, 64, 4), Size(192, 64, 8),
        Size(512, 64, 1), Size(512, 64, 2), Size(512, 64, 4), Size(1024, 64, 2),
    ),
    "cpu": (Size(192, 16, 7), Size(192, 16, 20)),
}  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """One run, and what came of it.

    Attributes:
        bits: per character of the last 5 % of the text, the state carried throughout.
    """

    way: Way
    size: Size
    wall_seconds: float | None = None  # from the start of the process to its end
    training_seconds: float | None = None  # of those, what the run counts as its own
    characters_per_second: float | None = None  # in its last epoch
    bits: float | None = None
    failed: str | None = None  # why there is none of these


@dataclass(frozen=True)
class Trials:
    """All trials, and where they ran."""

    text: str
    device: str
    target: float
    machine: Machine
    ways: list[Trial] = field(default_factory=list)
    sizes: list[Trial] = field(default_factory=list)


def measure(
    text: Path,
    device: str,
    target: float,
    ways: Sequence[Way],
    sizes: Sequence[Size],
    keep: Callable[[Trials], None],
    short: Size = SHORT,
) -> Trials:
    """Time `ways` on `short`, then `sizes` in the fastest of those that learn as well.

    Args:
        ways: the ways to run a step; of one alone nothing is timed.
        keep: given the report after every trial, so that nothing is lost where time runs out.

    Raises:
        SettingsError: no way works here.
    """
    report = Trials(text.name, device, target, machine.describe(device))
    for way in ways if len(ways) > 1 else ():
        report.ways.append(_trial(text, device, way, short))
        keep(report)
    chosen = _fastest(report.ways) if report.ways else ways[0]
    for size in sizes:
        report.sizes.append(_trial(text, device, chosen, size))
        keep(report)
    return report


def render(report: Trials) -> str:
    """The report as Markdown."""
    reached = [t for t in report.sizes if t.bits is not None and t.bits <= report.target]
    best = min((trial.wall_seconds or 0.0 for trial in reached), default=None)
    how = "not reached" if best is None else f"reached in {best:.1f} s"
    where = report.machine.gpu or report.machine.cpu
    ways = [f"## Ways to run a step: {SHORT.hidden} units", lay_out(_table(report.ways))]
    parts = [
        f"# Time to {report.target:g} bits per character",
        f"{report.target:g} bits per character were {how}.",
        f"Text: {report.text}, its last 5 % held out. Times are of whole `charlm-train` processes. "
        f"{report.device}: {where}, Torch {report.machine.versions.get('torch', '?')}.",
        *(ways if report.ways else []),
        "## Runs",
        lay_out(_table(report.sizes)),
    ]
    return "\n\n".join(parts) + "\n"


def _fastest(trials: Iterable[Trial]) -> Way:
    worked = [trial for trial in trials if trial.characters_per_second is not None]
    if not worked:
        raise SettingsError(f"no way of running a step works here: {next(iter(trials)).failed}")
    least = min(trial.bits or math.inf for trial in worked)
    good = [trial for trial in worked if (trial.bits or math.inf) <= least + AS_GOOD]
    return max(good or worked, key=lambda trial: trial.characters_per_second or 0.0).way


def _trial(text: Path, device: str, way: Way, size: Size) -> Trial:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        train = command_of(
            "charlm.train", str(text), "--out", str(run), "--final", "--no-report",
            "--device", device, *AS_THE_NOTEBOOK, *way.options(), *size.options(),
        )  # fmt: skip
        began = time.perf_counter()
        try:
            ended = subprocess.run(
                train, capture_output=True, text=True, timeout=TOO_LONG, check=False
            )
        except subprocess.TimeoutExpired:
            return Trial(way, size, failed=f"took more than {TOO_LONG:.0f} s")
        seconds = time.perf_counter() - began
        if ended.returncode != 0:
            lines = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
            return Trial(way, size, failed=machine.without_paths(lines[-1]))
        return _read(way, size, seconds, run)


def _read(way: Way, size: Size, seconds: float, run: Path) -> Trial:
    results: dict[str, Any] = json.loads((run / "config.json").read_text("utf-8"))["results"]
    last = json.loads((run / "metrics.jsonl").read_text("utf-8").splitlines()[-1])
    speed, bits = last["characters_per_second"], results["test_bits_per_character"]
    return Trial(way, size, round(seconds, 2), results["seconds"], speed, bits)


def _table(trials: Iterable[Trial]) -> Table:
    heading = (
        "step", "precision", "units", "batch", "epochs", "chars/s", "training, s", "whole, s",
        "bits",
    )  # fmt: skip
    rows = []
    for trial in trials:
        way, size = trial.way, trial.size
        told = (way.step, way.precision, str(size.hidden), str(size.batch_size), str(size.epochs))
        found = (trial.failed or "", "", "", "")
        if trial.failed is None:
            found = (
                f"{trial.characters_per_second:,.0f}", f"{trial.training_seconds:.1f}",
                f"{trial.wall_seconds:.1f}", f"{trial.bits:.3f}",
            )  # fmt: skip
        rows.append(Row((*told, *found)))
    return table(heading, rows, words=(1,))


@app.command()
def main_command(
    text: Annotated[Path, typer.Argument(help="What to learn from.")],
    out: Annotated[Path, typer.Option(help="Folder for time-to-bits.json and .md.")],
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cuda",
    target: Annotated[float, typer.Option(help="Bits per character.")] = 2.1,
) -> None:
    """Measure how soon a run reaches a quality, and write the report."""
    if device not in WAYS:
        raise SettingsError(f"--device is one of {', '.join(WAYS)}, not {device!r}")
    with os_errors_as(SettingsError, f"can't make the folder {out}"):
        out.mkdir(parents=True, exist_ok=True)

    def keep(report: Trials) -> None:
        console.say(lay_out(_table((report.sizes or report.ways)[-1:])).splitlines()[-1])
        with os_errors_as(SettingsError, f"can't write into {out}"):
            write_text(out / "time-to-bits.json", json.dumps(asdict(report), indent=1) + "\n")
            write_text(out / "time-to-bits.md", render(report))

    print(render(measure(text, device, target, WAYS[device], SIZES[device], keep)), end="")


if __name__ == "__main__":
    console.run(app, "time-to-bits")
