"""Ratios that are goals: each a row of what is divided by what, round by round, and its target."""

from dataclasses import dataclass

from charlm.benchmarks.report.report import Report, ratio
from charlm.benchmarks.report.results import (
    MANY,
    NOTEBOOK,
    ONE,
    PLAIN_LOOP,
    PLAIN_LOOP_INT8,
    PRODUCT_LIMIT,
    SCORE,
    CaseResult,
    LimitResult,
    Spread,
)

RIVALS = "rivals"
FILTERED = "charlm_batch_filtered"


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
        pick: of charlm's procedures, or one by its name.
        base: what is divided by: another pick, a procedure's name, `PRODUCT_LIMIT`, or `RIVALS`
            for the fastest of the others at the same job in float32.
        target: at least so much; None: only shown.
    """

    title: str
    pick: "Pick | str"
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
    Goal("one text against a C++ loop without a runtime", Pick(ONE), PLAIN_LOOP, 0.8),
    Goal("one text in int8 against the loop's int8", Pick(ONE, "int8"), PLAIN_LOOP_INT8, 0.8),
    Goal("one text against the fastest other library", Pick(ONE), RIVALS, 2.5),
    Goal("one text in int8 against the fastest other library", Pick(ONE, "int8"), RIVALS, 5),
    Goal("many texts, of the multiply-add limit", Pick(MANY), PRODUCT_LIMIT, 0.85),
    Goal("many texts in int8 against float32", Pick(MANY, "int8"), Pick(MANY), 2.2),
    Goal("many texts, every core against one", Pick(MANY, every_core=True), Pick(MANY), 1.9),
    Goal("many texts with filters against without", FILTERED, Pick(MANY), 0.6),
    Goal("scoring one text against the loop without a runtime", Pick(SCORE), PLAIN_LOOP, 0.8),
    Goal("one text against the notebook", Pick(ONE, every_core=None), NOTEBOOK, 10_000),
    Goal("one text in int8 against the notebook", Pick(ONE, "int8", None), NOTEBOOK, 20_000),
    Goal("many texts in int8 against the notebook", Pick(MANY, "int8", None), NOTEBOOK, 100_000),
    Goal("many texts against the fastest other library", Pick(MANY), RIVALS),
)


def reached(report: Report) -> list[Reached]:
    """Every goal whose two sides were measured, and are not the same."""
    found = []
    for goal in GOALS:
        ours, base = _ours(report, goal), _base(report, goal)
        if ours is None or base is None or ours.name == base.name:
            continue
        if (spread := ratio(ours, base)) is not None:
            found.append(Reached(goal, ours.title, base.title, spread))
    return found


def _ours(report: Report, goal: Goal) -> CaseResult | None:
    return report.case(goal.pick) if isinstance(goal.pick, str) else _fastest(report, goal.pick)


def _fastest(report: Report, pick: Pick) -> CaseResult | None:
    return report.fastest(case for case in report.cases if case.ours and pick.matches(case))


def _base(report: Report, goal: Goal) -> CaseResult | LimitResult | None:
    if isinstance(goal.base, Pick):
        return _fastest(report, goal.base)
    if goal.base == PRODUCT_LIMIT:
        return report.best_limit(PRODUCT_LIMIT)
    if goal.base == RIVALS:
        pick = Pick(goal.pick.job) if isinstance(goal.pick, Pick) else None
        cases = [case for case in report.cases if pick and pick.matches(case) and not case.ours]
        return report.fastest(cases)
    return report.case(goal.base)
