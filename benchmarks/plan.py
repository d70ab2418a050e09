"""How much is measured: the plan of a run, and which names it may ask for."""

from dataclasses import dataclass, replace
from pathlib import Path

from charlm.benchmarks.harness.settings import LITERT_STEP, WEIGHTS
from charlm.benchmarks.lineup import CASES, LIMITS, SWEEPS, Case, Sweep
from charlm.data.system.errors import SettingsError
from charlm.data.text.corpus import SAMPLE

LIMITS_PART, PROCESSES = "limits", "processes"
NAMES = (
    *(case.name for case in CASES), *(sweep.name for sweep in SWEEPS), LIMITS_PART, PROCESSES
)  # fmt: skip


@dataclass(frozen=True)
class BenchPlan:
    """How much is measured."""

    model: Path
    provider: str = "cpu"
    threads: int = 1  # one stream of a small model can use no more
    rounds: int = 15
    trial_seconds: float = 0.7  # long beside a time slice, short beside a machine's moods
    text: Path = SAMPLE  # held out from the model's training, to tell what a precision costs
    text_characters: int = 200_000
    quick: bool = False  # leave out what starts slowly, and most values of a sweep
    only: tuple[str, ...] = ()  # of NAMES; empty: everything

    def __post_init__(self) -> None:
        if self.provider not in ("cpu", "cuda"):
            raise SettingsError(f"--provider is cpu or cuda, not {self.provider!r}")
        if self.rounds < 1 or self.threads < 1:
            raise SettingsError("--rounds and --threads are at least 1")
        if not self.text.is_file():
            raise SettingsError(f"--text {self.text}: no such file")
        for name in self.only:
            if name not in NAMES:
                raise SettingsError(f"--only is one of {', '.join(NAMES)}, not {name!r}")

    def wants(self, name: str) -> bool:
        """Whether a case, a sweep or a part is to be measured."""
        return not self.only or name in self.only

    def cases(self) -> list[Case]:
        """The procedures to measure, in order; what is named in `only` is never left out."""
        return [
            case
            for case in CASES
            if case.name in self.only
            or (
                not self.only
                and (self.provider == "cuda" or not case.cuda)
                and not (self.quick and case.slow)
            )
        ]

    def bounds(self) -> tuple[Case, ...]:
        """The ways to the machine's limits to measure."""
        return LIMITS if self.wants(LIMITS_PART) else ()

    def sweeps(self) -> list[Sweep]:
        """The sweeps to measure."""
        return [
            sweep
            for sweep in SWEEPS
            if self.wants(sweep.name) and (self.only or self.provider == "cuda" or not sweep.cuda)
        ]

    def artifacts(self) -> list[str]:
        """The derived files that all this takes, each once."""
        found = [name for case in (*self.cases(), *self.bounds()) for name in case.needs]
        for sweep in self.sweeps():
            found += sweep.needs(sweep.quick if self.quick else sweep.values, not self.quick)
        if self.wants(PROCESSES):
            found += [WEIGHTS] if self.quick else [WEIGHTS, LITERT_STEP]
        return list(dict.fromkeys(found))

    def left_out(self) -> tuple[str, ...]:
        """What a quick run does not measure, in words."""
        if not self.quick:
            return ()
        slow = [] if self.only else [case.title for case in CASES if case.slow]
        return (*slow, *(["all but two values of each sweep"] if self.sweeps() else []))


def quick(plan: BenchPlan) -> BenchPlan:
    """A plan that shows in a minute whether everything runs; its figures are noise."""
    return replace(plan, rounds=2, trial_seconds=0.05, text_characters=5_000, quick=True)
