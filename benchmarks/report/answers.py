"""What a reader wants first: for each job the fastest way, how to ask for it, and what beats it.

Only what a user can ask for counts, as long as there is any: a path that is run for comparison
may be faster or slower than what charlm chooses by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from charlm.benchmarks.report.report import Report
from charlm.benchmarks.report.results import MANY, ONE, SCORE, SCORE_MANY, CaseResult, Spread

JOBS = (ONE, MANY, SCORE, SCORE_MANY)
EXACT = "float32"


@dataclass(frozen=True)
class Answer:
    """The fastest of charlm's procedures for a job.

    Attributes:
        job: in words.
        loss: bits per character that its precision loses against float32; None of float32, or
            not measured.
        rival: the fastest procedure of the same job that is not charlm, if it is faster.
    """

    job: str
    case: CaseResult
    rate: Spread
    notebook: Spread | None
    loss: float | None = None
    rival: CaseResult | None = None

    @property
    def use(self) -> str:
        """How it is asked for; a report of format 1 does not say."""
        return self.case.use or self.case.title


def find(report: Report) -> list[Answer]:
    """An answer for each job that was measured, and a second one where a precision is faster."""
    return [
        answer for cuda in (False, True) for job in JOBS for answer in _answers(report, job, cuda)
    ]


def _answers(report: Report, job: str, cuda: bool) -> Iterator[Answer]:
    there = [case for case in report.cases if case.task == job and case.cuda == cuda]
    ours = [case for case in there if case.ours]
    ours = [case for case in ours if case.use and case.rates] or ours
    others = report.fastest(case for case in there if not case.ours)
    place = "GPU" if cuda else "CPU"
    exact = report.fastest(case for case in ours if case.precision == EXACT)
    best = Spread.of(exact.rates) if exact else None
    if exact is not None and best is not None:
        yield Answer(
            f"{job}, {place}", exact, best, report.to_notebook(exact),
            rival=_faster(others, best),
        )  # fmt: skip
    rounded = report.fastest(case for case in ours if case.precision != EXACT)
    rate = Spread.of(rounded.rates) if rounded else None
    if rounded is not None and rate is not None and (best is None or rate.median > best.median):
        job_at = f"{job}, {place}, {rounded.precision}"
        yield Answer(
            job_at, rounded, rate, report.to_notebook(rounded), _loss(report, rounded),
            _faster(others, rate),
        )  # fmt: skip


def _loss(report: Report, case: CaseResult) -> float | None:
    exact, rounded = report.bits(EXACT), report.bits(case.precision)
    return rounded - exact if exact is not None and rounded is not None else None


def _faster(rival: CaseResult | None, than: Spread) -> CaseResult | None:
    found = Spread.of(rival.rates) if rival else None
    return rival if found and found.median > than.median else None
