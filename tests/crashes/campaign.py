"""A campaign: so many strikes on runs of one tiny model, each run resumed until it ends."""

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from charlm.data.system.files import write_text
from charlm.data.text.corpus import SAMPLE
from charlm.train.runs import checkpoint
from tests.crashes import process, verdict
from tests.crashes.fault import Fault, Kind, Phase
from tests.crashes.process import Ended

CHARACTERS = 4000
SETTINGS = (
    "--layers", "2", "--hidden", "12", "--dropout", "0.3", "--batch-size", "4", "--seq-len", "60",
    "--output-dropout", "0.2", "--weight-decay", "0.1",
    "--epochs", "2", "--lr", "0.02", "--seed", "11", "--threads", "1", "--device", "cpu",
    "--no-report",
)  # fmt: skip
AGAIN = 0.5  # of the strikes hit a run that was struck before
PHASES: tuple[Phase, ...] = ("before", "halfway", "after")


@dataclass(frozen=True)
class Strike:
    """One fault that hit, and what was left.

    Attributes:
        kind: which fault.
        saving: a temporary file was left; a later run removes it.
        resumed: it hit a process that was resuming a run.
        wrong: what should not have been; None if all was well.
    """

    kind: Kind
    saving: bool
    resumed: bool
    wrong: str | None


@dataclass(frozen=True)
class Campaign:
    """What came of it all.

    Attributes:
        strikes: every fault that hit.
        runs: how many runs were brought to their end.
        different: what differed from the unbroken run, a line for each run that did.
    """

    strikes: list[Strike]
    runs: int
    different: list[str]

    @property
    def passed(self) -> bool:
        """Whether every run ended as the unbroken one, and nothing else was wrong."""
        return not self.different and not any(strike.wrong for strike in self.strikes)


def wage(times: int, seed: int, report: Callable[[Strike], None] = lambda _: None) -> Campaign:
    """Kill `times` times, and have the disk full and the folder closed a quarter as often each.

    Args:
        times: kills that must hit; half at a moment, half in a file operation.
        seed: of everything that is drawn. A moment's effect depends on the machine's speed too.
        report: called after each strike.
    """
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="charlm-crashes-") as place:
        arena = _Arena(Path(place), rng, report)
        arena.fight(_kinds(times, rng))
        return Campaign(arena.strikes, arena.runs, arena.different)


def _kinds(times: int, rng: random.Random) -> list[Kind]:
    quarter = -(-times // 4)
    kinds: list[Kind] = ["kill"] * (times // 2)
    kinds += ["kill in a file operation"] * (times - times // 2)
    kinds += ["full disk"] * quarter
    kinds += ["unwritable folder"] * quarter
    rng.shuffle(kinds)
    return kinds


class _Arena:
    """The unbroken run, and the runs that are struck."""

    def __init__(self, place: Path, rng: random.Random, report: Callable[[Strike], None]) -> None:
        self.place, self.rng, self.report = place, rng, report
        self.strikes: list[Strike] = []
        self.runs = 0
        self.different: list[str] = []
        self.text = place / "text.txt"
        write_text(self.text, SAMPLE.read_text(encoding="utf-8")[:CHARACTERS])
        self.reference = place / "reference" / "run"  # a folder's name is in its model card
        self.unbroken = self._train(self.reference, None)
        if self.unbroken.code != 0:
            raise RuntimeError(f"the unbroken run ended with {self.unbroken}")

    def fight(self, kinds: list[Kind]) -> None:
        """Strike runs until every kind in the list has hit."""
        left = list(reversed(kinds))
        while left:
            folder = self.place / str(self.runs) / "run"
            for fault in self._faults(left):
                ended = self._train(folder, fault)
                if ended.code == 0:
                    break
                left.pop()
                self._note(folder, fault, ended)
            else:
                self._train(folder, None)
            if wrong := _ending(folder, self.reference):
                self.different.append(f"run {self.runs}: {wrong}")
            self.runs += 1

    def _faults(self, left: list[Kind]) -> Iterator[Fault]:
        """What one run suffers, in order."""
        while left:
            yield self._fault(left[-1])
            if self.rng.random() > AGAIN:
                return

    def _fault(self, kind: Kind) -> Fault:
        return Fault(
            kind,
            seconds=self.rng.uniform(0, self.unbroken.seconds),
            operation=0 if kind == "kill" else self.rng.randint(1, self.unbroken.operations),
            phase=self.rng.choice(PHASES),
        )

    def _train(self, folder: Path, fault: Fault | None) -> Ended:
        arguments = [str(self.text), "--resume", "--out", str(folder), *SETTINGS]
        mapped = folder != self.reference and self.runs % 2 == 1
        return process.run(arguments, self.place, fault, mapped=mapped)

    def _note(self, folder: Path, fault: Fault, ended: Ended) -> None:
        strike = Strike(
            kind=fault.kind,
            saving=any(folder.glob(".*.tmp")),
            resumed="resumed at step" in ended.errors,
            wrong=_reaction(fault, ended) or verdict.unreadable(folder),
        )
        self.strikes.append(strike)
        self.report(strike)


def _reaction(fault: Fault, ended: Ended) -> str | None:
    """What is wrong with how a process met its fault."""
    if fault.kind.startswith("kill"):
        return None if ended.killed else f"exit code {ended.code}: {ended.errors}"
    if ended.code != 2 or len(ended.complaints) != 1 or "Traceback" in ended.errors:
        return f"{fault}: exit code {ended.code}: {ended.errors}"
    return None


def _ending(folder: Path, reference: Path) -> str | None:
    if not checkpoint.exists(folder):
        return "no training state at the end"
    return verdict.unreadable(folder) or verdict.difference(folder, reference)
