"""The main chart as HTML: a bar of SVG for each procedure, on one logarithmic scale, by job.

Labels and figures are text of the page, so they wrap on a phone and are read aloud; each bar has
its spread as a whisker and its limit as a dashed mark.
"""

import html
import math
from dataclasses import dataclass

from charlm.benchmarks.report import answers, tables
from charlm.benchmarks.report.report import Report
from charlm.benchmarks.report.results import NOTEBOOK, CaseResult, Spread
from charlm.data.pages.picture import short

WIDTH = 1000  # of a bar's coordinates; it is stretched to the page


@dataclass(frozen=True)
class Scale:
    """Decades from `low` to `high`, as powers of ten."""

    low: int
    high: int

    def at(self, value: float) -> float:
        """Where a rate lies, from 0 to `WIDTH`."""
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(WIDTH * min(1.0, max(0.0, share)), 1)


def draw(report: Report) -> str:
    """The chart; empty where nothing was measured."""
    cases = [(case, spread) for case in report.cases if (spread := Spread.of(case.rates))]
    if not cases:
        return ""
    highest = max(spread.high for _, spread in cases)
    lowest = min(spread.low for _, spread in cases)
    scale = Scale(math.floor(math.log10(lowest)), math.ceil(math.log10(highest * 1.05)))
    parts = []
    for cuda in (False, True):
        for job in answers.JOBS:
            some = [pair for pair in cases if pair[0].task == job and pair[0].cuda == cuda]
            if some:
                title = f"{job} on the {'GPU' if cuda else 'CPU'}"
                rows = "\n".join(_row(report, case, spread, scale) for case, spread in some)
                parts.append(f"<h3>{title}</h3>\n<ul class=bars>\n{rows}\n</ul>")
    return "\n".join([*parts, _axis(scale)])


def _row(report: Report, case: CaseResult, spread: Spread, scale: Scale) -> str:
    kind = "ours" if case.ours else "notebook" if case.name == NOTEBOOK else "other"
    warning = " <em class=unstable>unstable</em>" if spread.unstable else ""
    times = report.to_notebook(case)
    ratio = f"{tables.number(times.median)} ×" if times and case.name != NOTEBOOK else ""
    return (
        f"<li class={kind}><span class=name>{html.escape(case.title)}</span>"
        f"<span class=rate>{tables.number(spread.median)}{warning}</span>"
        f"<span class=times>{ratio}</span>{_bar(report, case, spread, scale)}</li>"
    )


def _bar(report: Report, case: CaseResult, spread: Spread, scale: Scale) -> str:
    low, middle, high = (scale.at(v) for v in (spread.low, spread.median, spread.high))
    grid = "".join(
        f'<path class=grid d="M{scale.at(10.0**power)} 0V20"/>'
        for power in range(scale.low, scale.high + 1)
    )
    best = report.limit_of(case)
    found = Spread.of(best.rates) if best else None
    limit = f'<path class=limit d="M{scale.at(found.median)} 0V20"/>' if found else ""
    return (
        f'<svg aria-hidden=true viewBox="0 0 {WIDTH} 20" preserveAspectRatio=none>{grid}'
        f"<rect class=bar x=0 y=3 width={middle} height=14 />"
        f'<path class=whisker d="M{low} 10H{high}"/>{limit}</svg>'
    )


def _axis(scale: Scale) -> str:
    marks = "".join(
        f'<span style="left:{scale.at(10.0**power) / WIDTH:.1%}">{short(10.0**power)}</span>'
        for power in range(scale.low, scale.high + 1)
    )
    return (
        f"<div class=axis aria-hidden=true>{marks}</div>\n"
        "<p class=key>Characters a second on a logarithmic scale; × is times the notebook. Thin "
        "line: lowest to highest trial. Dashed mark: what the products alone would allow.</p>"
    )
