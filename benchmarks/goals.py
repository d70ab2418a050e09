"""Ratios that are goals: each a row of what is divided by what, round by round, and its target."""

from dataclasses import dataclass

from charlm.benchmarks.report import Report, ratio
from charlm.benchmarks.results import NOTEBOOK, PRODUCT_LIMIT, STEP_LOOP, CaseResult, LimitResult
from charlm.benchmarks.spread import Spread
from charlm.benchmarks.work import MANY, ONE, SCORE, SCORE_MANY

RIVALS = "rivals"


@dataclass(frozen=True)
class Pick:
    """The fastest of charlm's procedures for a job on the CPU; None: any precision, any cores."""

    job: str
    precision: str | None = "float32"
    every_core: bool | None = False

    def matches(self, case: CaseResult) -> bool:
        """Whether a procedure is among those picked from."""
        return (
            case.task == self.job
            and not case.cuda
            and self.precision in (None, case.precision)
            and self.every_core in (None, case.every_core)
        )


@dataclass(frozen=True)
class Goal:
    """A ratio.

    Attributes:
        base: what is divided by: another pick, a procedure's name, `PRODUCT_LIMIT`, or `RIVALS`
            for the fastest of the others at the same job.
        target: at least so much; None: only shown.
    """

    title: str
    pick: Pick
    base: "Pick | str"
    target: float | None = None


@dataclass(frozen=True)
class Reached:
    """A goal as it was measured."""

    goal: Goal
    ours: str
    base: str
    ratio: Spread


GOALS = (
    Goal("one text against the step loop", Pick(ONE), STEP_LOOP, 2.1),
    Goal("one text in int8 against the step loop", Pick(ONE, "int8"), STEP_LOOP, 2.6),
    Goal("many texts, of the product limit", Pick(MANY), PRODUCT_LIMIT, 0.85),
    Goal("many texts in int8 against float32", Pick(MANY, "int8"), Pick(MANY), 1.8),
    Goal("many texts, every core against one", Pick(MANY, every_core=True), Pick(MANY), 1.8),
    Goal("one text against the notebook", Pick(ONE, every_core=None), NOTEBOOK, 5_000),
    Goal("one text in int8 against the notebook", Pick(ONE, "int8", None), NOTEBOOK, 5_000),
    Goal("many texts against the notebook", Pick(MANY, every_core=None), NOTEBOOK, 50_000),
    Goal("many texts in int8 against the notebook", Pick(MANY, "int8", None), NOTEBOOK, 50_000),
    Goal("scoring one text against the step loop", Pick(SCORE), STEP_LOOP, 4),
    Goal("scoring many texts, of the product limit", Pick(SCORE_MANY), PRODUCT_LIMIT, 0.6),
    Goal("one text against the fastest other library", Pick(ONE), RIVALS),
    Goal("many texts against the fastest other library", Pick(MANY), RIVALS),
)


def reached(report: Report) -> list[Reached]:
    """Every goal whose two sides were measured, and are not the same."""
    found = []
    for goal in GOALS:
        ours, base = _fastest(report, goal.pick), _base(report, goal)
        if ours is None or base is None or ours.name == base.name:
            continue
        if (spread := ratio(ours, base)) is not None:
            found.append(Reached(goal, ours.title, base.title, spread))
    return found


def _fastest(report: Report, pick: Pick) -> CaseResult | None:
    return report.fastest(case for case in report.cases if case.ours and pick.matches(case))


def _base(report: Report, goal: Goal) -> CaseResult | LimitResult | None:
    if isinstance(goal.base, Pick):
        return _fastest(report, goal.base)
    if goal.base == PRODUCT_LIMIT:
        return report.best_limit(PRODUCT_LIMIT)
    if goal.base == RIVALS:
        cases = [case for case in report.cases if goal.pick.matches(case) and not case.ours]
        return report.fastest(cases)
    return report.case(goal.base)
