"""A report as one HTML page that holds all it shows: no scripts, no other files, no network."""

import html

from charlm.benchmarks.report import bars, prose, sweep_plot, tables
from charlm.benchmarks.report.report import Report
from charlm.benchmarks.report.results import SweepResult
from charlm.data.pages import inline_svg, markup
from charlm.data.pages.markup import items, paragraph, section
from charlm.data.pages.style import BASE
from charlm.data.pages.table import Table

CSS = (
    BASE
    + """.answers table { font-size: 1rem; }
.answers td { padding: .55rem .6rem; }
.answers td:nth-child(3) { font-size: 1.25rem; font-weight: 700; white-space: nowrap; }
.answers th { white-space: nowrap; }
.answers td.word { font-family: ui-monospace, monospace; font-size: .9rem; }
.answers td:first-child::first-letter { text-transform: uppercase; }
.bars { list-style: none; margin: 0; padding: 0; }
.bars li {
  display: grid; grid-template-columns: 17rem 1fr 8.5rem 5rem; gap: 0 .7rem; align-items: center;
  max-width: none; padding: .1rem 0; font-size: .9rem;
}
.bars .ours .name, .bars .ours .rate { font-weight: 700; }
.bars svg { grid-column: 2; grid-row: 1; width: 100%; height: 1.3rem; display: block; }
.bars .rate { grid-column: 3; grid-row: 1; text-align: right; font-variant-numeric: tabular-nums; }
.bars .times {
  grid-column: 4; grid-row: 1; text-align: right; color: var(--quiet); white-space: nowrap;
}
.bar { fill: var(--other); }
.ours .bar { fill: var(--ours); }
.notebook .bar { fill: var(--notebook); }
.bars path { fill: none; stroke: var(--ink); vector-effect: non-scaling-stroke; }
.bars .grid { stroke: var(--rule); stroke-width: 1; }
.bars .whisker { stroke-width: 1.5; }
.bars .limit { stroke-width: 2; stroke-dasharray: 4 2; }
.axis {
  position: relative; height: 1.4rem; margin: .1rem 14.9rem 0 17.7rem;
  font-size: .8rem; color: var(--quiet);
}
.axis span { position: absolute; transform: translateX(-50%); }
@media (max-width: 46rem) {
  .bars li { grid-template-columns: 1fr auto 4.6rem; padding: .25rem 0; }
  .bars .name { grid-column: 1; grid-row: 1; }
  .bars .rate { grid-column: 2; }
  .bars .times { grid-column: 3; }
  .bars svg { grid-column: 1 / -1; grid-row: 2; height: .9rem; }
  .axis { margin: .1rem 0 0; }
  .axis span:first-child { transform: none; }
  .axis span:last-child { transform: translateX(-100%); }
  .answers thead { display: none; }
  .answers tr {
    display: grid; grid-template-columns: 1fr auto; border-bottom: 1px solid var(--rule);
  }
  .answers tr { padding: .5rem 0; align-items: baseline; }
  .answers td { border: 0; padding: .05rem .2rem; }
  .answers td:nth-child(-n+2) { grid-column: 1 / -1; }
  .answers td:nth-child(3) { grid-column: 1; text-align: left; }
  .answers td:nth-child(3)::after { content: " characters/s"; font-size: .8rem; font-weight: 400; }
  .answers td:nth-child(4):not(:empty)::after { content: " \\D7  notebook"; }
}
@media print {
  .bars li { break-inside: avoid; }
}
"""
)


def render(report: Report) -> str:
    """The page; the same report gives the same bytes."""
    title = f"charlm benchmark, {report.date}"
    sections = [
        _head(report, title),
        section("Characters a second", bars.draw(report)),
        *(_sweep(sweep) for sweep in report.sweeps),
        section("Quality", lay_out(tables.quality_table(report)), paragraph(prose.quality(report))),
        section("Every procedure", lay_out(tables.speed_table(report))),
        section("The machine’s limits", lay_out(tables.limit_table(report))),
        section(
            "Whole processes", lay_out(tables.process_table(report)), paragraph(prose.pair(report))
        ),
        section("Memory of a long text", paragraph(prose.memory(report))),
        section("Flips", lay_out(tables.flips_table(report)), paragraph(prose.FLIPS)),
        section("Not measured", items(prose.not_measured(report))),
        section("Machine and method", items(prose.about(report))),
    ]
    body = "\n".join(section for section in sections if section)
    return markup.document(title, CSS, body)


def lay_out(table: Table, kind: str = "wide") -> str:
    """A table in HTML; empty if it has no rows."""
    return markup.lay_out(table, kind, _cell)


def _head(report: Report, title: str) -> str:
    machine = report.machine
    where = ", ".join(filter(None, (machine.cpu, f"{machine.cores} cores", machine.gpu)))
    warned = prose.warning(report)
    return "\n".join(
        [
            f"<header><h1>{html.escape(title)}</h1>",
            f"<p class=quiet>{html.escape(where)}; LSTM {report.model.layers} × "
            f"{report.model.hidden}, {report.model.vocabulary} characters</p></header>",
            f"<p class=warning><strong>Warning:</strong> {html.escape(warned)}</p>"
            if warned
            else "",
            lay_out(tables.answer_table(report), "answers"),
            *(paragraph(said) for said in prose.rivals(report)),
        ]
    )


def _sweep(sweep: SweepResult) -> str:
    picture = sweep_plot.draw(sweep)
    if picture is None:
        return section(sweep.title, lay_out(tables.sweep_table(sweep)))
    drawn = inline_svg.inline(picture, sweep.name, html.escape(f"{sweep.title}; figures below"))
    return section(
        sweep.title,
        f"<figure>{drawn}</figure>",
        f"<details><summary>The figures</summary>{lay_out(tables.sweep_table(sweep))}</details>",
    )


def _cell(text: str) -> str:
    warning = f" {tables.UNSTABLE}"
    plain = text.removesuffix(warning)
    mark = f" <em class=unstable>{tables.UNSTABLE}</em>" if plain != text else ""
    return html.escape(plain) + mark
