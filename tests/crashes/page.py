"""The report of a campaign, in Markdown."""

from collections.abc import Iterable

from charlm.benchmarks.harness.machine import Machine
from tests.crashes.campaign import Campaign, Strike

SHOWN = ("charlm", "python", "torch", "numpy")
HEAD = """# Training struck at random moments

A tiny model is trained in a process that is killed (SIGKILL) at a random moment or in a random file
operation, or meets a full disk (ENOSPC) or a folder that can't be written (EACCES) from a random
file operation on. After each strike every file of the run folder is read; then the run is resumed,
perhaps struck again, and in the end compared with an unbroken run: weights, best weights,
optimiser, schedule, random state, metrics. Every second run has its ids in a mapped file, as large
corpora do.
"""


def as_markdown(campaign: Campaign, seed: int, machine: Machine) -> str:
    """The whole report."""
    versions = ", ".join(f"{name} {machine.versions[name]}" for name in SHOWN)
    kinds = sorted({strike.kind for strike in campaign.strikes})
    rows = [
        "| fault | strikes | left a temporary file | on a resumed run | left something wrong |",
        "| --- | --: | --: | --: | --: |",
        *(_row(kind, [s for s in campaign.strikes if s.kind == kind]) for kind in kinds),
        _row("all", campaign.strikes),
    ]
    lines = [
        HEAD,
        *rows,
        "",
        f"{campaign.runs} runs were brought to their end; {len(campaign.different)} differ from "
        "the unbroken one.",
        *_listed(campaign),
        "",
        f"`python -m tests.crashes --times {_kills(campaign)} --seed {seed}` on "
        f"{machine.cpu}, {machine.system}; {versions}.",
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, strikes: list[Strike]) -> str:
    counts = [
        len(strikes),
        _count(strike.saving for strike in strikes),
        _count(strike.resumed for strike in strikes),
        _count(strike.wrong is not None for strike in strikes),
    ]
    return f"| {name} | {' | '.join(map(str, counts))} |"


def _count(marks: Iterable[bool]) -> int:
    return sum(map(int, marks))


def _kills(campaign: Campaign) -> int:
    return _count(strike.kind.startswith("kill") for strike in campaign.strikes)


def _listed(campaign: Campaign) -> list[str]:
    wrong = [strike.wrong for strike in campaign.strikes if strike.wrong is not None]
    return [f"- {' '.join(line.split())}" for line in (*campaign.different, *wrong)]
