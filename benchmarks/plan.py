"""How much is measured: the plan of a run, and which names it may ask for."""

from dataclasses import dataclass, replace
from pathlib import Path

from charlm.benchmarks import artifacts
from charlm.benchmarks.lineup import CASES, LIMITS, Bound, Case
from charlm.benchmarks.sweeps import SWEEPS, Effort, Sweep
from charlm.data.system.errors import SettingsError
from charlm.data.text.corpus import SAMPLE

LIMITS_PART, PROCESSES, MEMORY, FLIPS = "limits", "processes", "memory", "flips"
PARTS = (LIMITS_PART, PROCESSES, MEMORY, FLIPS)
SWEEP_SHARE = 0.5  # of a trial's seconds, and of the rounds: a sweep has many points


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    model: Path
    provider: str = "cpu"
    threads: int = 1  # one stream of a small model can use no more
    rounds: int = 15
    trial_seconds: float = 0.7  # long beside a time slice, short beside a machine's moods
    memory_characters: int = 1_000_000
    flip_characters: int = 1_000_000
    text: Path = SAMPLE  # held out from the model's training, to tell what a precision costs
    text_characters: int = 200_000
    quick: bool = False  # leave out what starts slowly, and most values of a sweep
    only: tuple[str, ...] = ()  # names of cases, sweeps or PARTS; empty: everything

    def __post_init__(self) -> None:
        if self.provider not in ("cpu", "cuda"):
            raise SettingsError(f"--provider is cpu or cuda, not {self.provider!r}")
        if self.rounds < 1 or self.threads < 1:
            raise SettingsError("--rounds and --threads are at least 1")
        if not self.text.is_file():
            raise SettingsError(f"--text {self.text}: no such file")
        for name in self.only:
            if name not in names():
                raise SettingsError(f"--only is one of {', '.join(names())}, not {name!r}")

    def wants(self, name: str) -> bool:
        """Whether a case, a sweep or a part is to be measured."""
        return not self.only or name in self.only

    def cases(self) -> list[Case]:
        """The procedures to measure, in order; what is named in `only` is never left out."""
        return [
            case
            for case in CASES
            if self.wants(case.name)
            and (self.only or (self.provider == "cuda" or not case.cuda))
            and (self.only or not (self.quick and case.slow))
        ]

    def bounds(self) -> list[Bound]:
        """The ways to the machine's limits to measure."""
        wanted = LIMITS if self.wants(LIMITS_PART) else ()
        return [bound for bound in wanted if not (self.quick and bound.slow)]

    def sweeps(self) -> list[Sweep]:
        """The sweeps to measure."""
        return [
            sweep
            for sweep in SWEEPS
            if self.wants(sweep.name) and (self.only or self.provider == "cuda" or not sweep.cuda)
        ]

    def sweep_effort(self) -> Effort:
        """How much of each sweep."""
        rounds = max(1, round(SWEEP_SHARE * self.rounds))
        return Effort(rounds, SWEEP_SHARE * self.trial_seconds, self.quick)

    def artifacts(self) -> list[str]:
        """The derived files that all this takes, each once."""
        found = [name for case in self.cases() for name in case.needs]
        found += [name for bound in self.bounds() for name in bound.needs]
        for sweep in self.sweeps():
            found += sweep.needs(sweep.quick if self.quick else sweep.values, not self.quick)
            if sweep.limits:
                found.append(artifacts.PROBE)
        if self.wants(PROCESSES):
            found.append(artifacts.WEIGHTS)
            found += [] if self.quick else [artifacts.LITERT_STEP]
        return list(dict.fromkeys(found))

    def left_out(self) -> tuple[str, ...]:
        """What a quick run does not measure, in words."""
        if not self.quick:
            return ()
        slow = [
            each.title for each in (*CASES, *LIMITS) if each.slow and each.name not in self.only
        ]
        values = "all but two values of each sweep"
        return (*slow, values) if self.sweeps() else tuple(slow)


def quick(plan: Plan) -> Plan:
    """A plan that shows in a minute whether everything runs; its figures are noise."""
    return replace(
        plan,
        rounds=2,
        trial_seconds=0.05,
        memory_characters=20_000,
        flip_characters=20_000,
        text_characters=5_000,
        quick=True,
    )


def names() -> list[str]:
    """What `Plan.only` may name."""
    return [each.name for each in (*CASES, *SWEEPS)] + list(PARTS)
