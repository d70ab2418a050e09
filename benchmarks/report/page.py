"""A report as one HTML page that holds all it shows, and as Markdown: the same sections."""

import html
from collections.abc import Mapping
from dataclasses import dataclass

from charlm.benchmarks.report import tables
from charlm.benchmarks.report.plots import SPEED
from charlm.benchmarks.report.report import BenchReport
from charlm.data.pages import inline_svg, markdown, markup
from charlm.data.pages.style import BASE
from charlm.data.pages.table import Table, table

MANY_UNSTABLE = 0.3  # of the figures, from where on the page begins with a warning
NO_TABLE = table((), ())
CSS = (
    BASE
    + """.answers table { font-size: 1rem; }
.answers td { padding: .55rem .6rem; }
.answers td:nth-child(3) { font-size: 1.25rem; font-weight: 700; white-space: nowrap; }
.answers td.word { font-family: ui-monospace, monospace; font-size: .85rem; }
.answers td:first-child::first-letter { text-transform: uppercase; }
.answers td:first-child { min-width: 12rem; }
.answers .unstable { font-size: .8rem; font-weight: 400; }
.wide td:first-child { min-width: 15rem; }
.sweeps h2 { font-size: 1rem; }
.sweeps section:has(details[open]) { grid-column: 1 / -1; }
@media (min-width: 62rem) {
  .sweeps { display: grid; grid-template-columns: 1fr 1fr; column-gap: 2rem; }
}
@media (max-width: 46rem) {
  thead { display: none; }
  tr {
    display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 0 .8rem;
    padding: .5rem 0; border-bottom: 1px solid var(--rule); align-items: baseline;
  }
  td, .answers td, .wide td:not(:first-child, .word, .skip) {
    border: 0; padding: .05rem 0; text-align: left; white-space: normal;
  }
  td:first-child, td.word, td.skip, .answers td:nth-child(3) { grid-column: 1 / -1; }
  td:empty { display: none; }
  td:not(:first-child, .word)::after {
    content: " " attr(data-heading); color: var(--quiet); font-size: .8rem; font-weight: 400;
  }
}
"""
)


@dataclass(frozen=True)
class PagePart:
    """A part of the report; what it has not is empty."""

    title: str
    picture: str = ""  # the name of its picture, where one was drawn
    table: Table = NO_TABLE
    text: str = ""  # a paragraph after the table
    lines: tuple[str, ...] = ()  # of a list


def render_html(report: BenchReport, pictures: Mapping[str, bytes]) -> str:
    """The page; the same report gives the same bytes."""
    title = f"charlm benchmark, {report.date}"
    machine, model = report.machine, report.model
    where = ", ".join(filter(None, (machine.cpu, f"{machine.cores} cores", machine.gpu)))
    shape = f"LSTM {model.layers} × {model.hidden}, {model.vocabulary} characters"
    warned = html.escape(_warning(report))
    body = [
        f"<header><h1>{html.escape(title)}</h1>",
        f"<p class=quiet>{html.escape(where)}; {shape}</p></header>",
        markup.paragraph(_measured(report)),
        f"<p class=warning><strong>Warning:</strong> {warned}</p>" if warned else "",
        table_html(tables.answer_table(report), "answers"),
        *map(markup.paragraph, _rivals(report)),
        *(_section_html(each, pictures) for each in _first(report)),
        "<div class=sweeps>",
        *(_section_html(each, pictures) for each in _sweeps(report)),
        "</div>",
        *(_section_html(each, pictures) for each in _last(report)),
    ]
    return markup.document(title, CSS, "\n".join(part for part in body if part))


def render_markdown(report: BenchReport, pictures: Mapping[str, bytes]) -> str:
    """The report, ready to be read on its own, with its pictures beside it."""
    warned = _warning(report)
    answers = tables.answer_table(report)
    parts = [
        f"# charlm benchmark, {report.date}",
        _measured(report),
        f"> **Warning:** {warned}" if warned else "",
        markdown.lay_out(answers) if answers.rows else "",
        *_rivals(report),
    ]
    for each in _sections(report):
        drawn = each.picture in pictures
        shown = [
            f"![{each.title}]({each.picture}.svg)" if drawn else "",
            markdown.lay_out(each.table) if each.table.rows else "",
            each.text,
            "\n".join(f"- {line}" for line in each.lines),
        ]
        parts += [f"## {each.title}", *shown] if any(shown) else []
    return "\n\n".join(part for part in parts if part) + "\n"


def figures(report: BenchReport, every: bool = True) -> str:
    """The tables of what was measured, in Markdown, for a terminal.

    Args:
        every: also those beside the table of procedures, where there is that.
    """
    some = {each.title: each.table for each in _sections(report) if each.table.rows}
    if not every and PROCEDURES in some:
        return markdown.lay_out(some[PROCEDURES])
    return "\n\n".join(f"{title}\n\n{markdown.lay_out(found)}" for title, found in some.items())


def table_html(found: Table, kind: str = "wide") -> str:
    """A table in HTML; empty if it has no rows."""
    return markup.lay_out(found, kind, _cell)


PROCEDURES = "Every procedure"


def _sections(report: BenchReport) -> list[PagePart]:
    return [*_first(report), *_sweeps(report), *_last(report)]


def _first(report: BenchReport) -> list[PagePart]:
    return [
        PagePart("Characters a second", SPEED),
        PagePart(PROCEDURES, table=tables.speed_table(report)),
    ]


def _sweeps(report: BenchReport) -> list[PagePart]:
    return [PagePart(each.title, each.name, tables.sweep_table(each)) for each in report.sweeps]


def _last(report: BenchReport) -> list[PagePart]:
    texts = sorted({each.text for each in report.quality if each.text})
    scored = f"On {', '.join(texts)}, state carried." if texts else ""
    return [
        PagePart("Quality", table=tables.quality_table(report), text=scored),
        PagePart("Whole processes", table=tables.process_table(report)),
        PagePart("Not measured", lines=tuple(_not_measured(report))),
        PagePart("Machine and method", lines=tuple(_about(report))),
    ]


def _section_html(section: PagePart, pictures: Mapping[str, bytes]) -> str:
    shown = table_html(section.table)
    drawn = pictures.get(section.picture)
    if drawn is not None:
        label = html.escape(f"{section.title}; figures below")
        figure = f"<figure>{inline_svg.inline(drawn, section.picture, label)}</figure>"
        if shown:
            shown = f"<details><summary>The figures</summary>{shown}</details>"
        shown = f"{figure}\n{shown}"
    lines = markup.items(section.lines)
    return markup.section(section.title, shown or lines, markup.paragraph(section.text))


def _cell(text: str) -> str:
    plain = text.removeprefix(f"{tables.UNSTABLE} ")
    mark = f"<em class=unstable>{tables.UNSTABLE}</em> " if plain != text else ""
    return mark + html.escape(plain)


def _measured(report: BenchReport) -> str:
    """Two sentences: what was measured, and against what."""
    cores = "one core" if report.threads == 1 else f"{report.threads} cores"
    notebook = (
        "with the notebook that charlm grew out of (Keras, the last 40 characters read anew for "
        "each new one), and "
    )
    return (
        "Measured: how many characters a second charlm and other libraries generate and score "
        f"with the same model, in turns and each on {cores}, where nothing else is said. "
        f"Compared: {notebook if report.has_notebook else ''}with float32's limit, the speed at "
        "which these cores do nothing but the model's multiplications in float32."
    )


def _warning(report: BenchReport) -> str:
    """One sentence where many figures are unstable; else empty."""
    wide, measured = report.unstable()
    if not measured or wide < MANY_UNSTABLE * measured:
        return ""
    return (
        f"{wide} of {measured} figures are unstable: the machine was busy or changes its speed. "
        "Trust ratios taken round by round more than absolute figures, or measure again."
    )


def _rivals(report: BenchReport) -> list[str]:
    """A sentence for every job at which another library was faster."""
    said = []
    for answer in report.answers():
        rival, ours = answer.rival, answer.case.spread
        other = rival.spread if rival else None
        if rival and other and ours:
            times = tables.number(other.median / ours.median)
            said.append(f"{answer.job}: {rival.title} was {times} times as fast in this run.")
    return said


def _not_measured(report: BenchReport) -> list[str]:
    """What was left out or skipped, each with the reason."""
    skipped = [(each.title, each.skipped) for each in report.cases if each.skipped]
    skipped += [(each.title, each.skipped) for each in report.limits if each.skipped]
    skipped += [
        (f"{sweep.title}: {series.title} at {point.label}", point.skipped)
        for sweep in report.sweeps
        for series in sweep.series
        for point in series.points
        if point.skipped
    ]
    reasons = [f"{what}: {why}" for what, why in skipped]
    if report.left_out:
        reasons.append("A quick run leaves out: " + "; ".join(report.left_out))
    return reasons


def _about(report: BenchReport) -> list[str]:
    """Machine, software, model and method."""
    machine, model = report.machine, report.model
    memory = f", {machine.memory_bytes / (1 << 30):.0f} GiB" if machine.memory_bytes else ""
    each = "thread on one core" if report.threads == 1 else f"threads on {report.threads} cores"
    pinned = "" if report.pinned else " (not pinned: this system does not let a process choose)"
    gpu = [f"GPU: {machine.gpu}"] if machine.gpu else []
    # What a GPU does for an instant it does not do for long.
    trials = [
        f"{case.title}: {case.units:,} characters in {case.units / case.spread.median:.2f} s"
        for case in report.cases
        if case.cuda and case.spread
    ]
    return [
        f"Machine: {machine.cpu}, {machine.cores} cores{memory}; {machine.system}",
        *gpu,
        "Versions: " + ", ".join(f"{name} {number}" for name, number in machine.versions.items()),
        f"Model: {model.file} ({model.bytes / 1e6:.2f} MB), LSTM {model.layers} x {model.hidden}, "
        f"{model.vocabulary} characters, weights {model.weights_sha256[:12]}",
        f"Method: every procedure in a process of its own, {report.threads} {each}{pinned}; "
        f"temperature 1, sampling included; after a warm-up {report.rounds} rounds in which each "
        f"has one trial of about {report.trial_seconds} s in turn. Medians; the "
        "spread is from the lowest trial to the highest; ratios are taken round by round. "
        f"{tables.UNSTABLE_MEANS}.",
        *(["Trials on the GPU: " + "; ".join(trials)] if trials else []),
    ]
