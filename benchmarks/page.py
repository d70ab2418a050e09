"""A report as one HTML page that holds all it shows: no scripts, no other files, no network."""

import html

from charlm.benchmarks import bars, figures, prose, sweep_plot, tables
from charlm.benchmarks.page_style import CSS
from charlm.benchmarks.report import Report
from charlm.benchmarks.results import SweepResult
from charlm.data.pages import inline_svg, markup
from charlm.data.pages.markup import items, paragraph, section
from charlm.data.pages.table import Table


def render(report: Report) -> str:
    """The page; the same report gives the same bytes."""
    title = f"charlm benchmark, {report.date}"
    sections = [
        _head(report, title),
        section("Characters a second", bars.draw(report)),
        section(
            "Ratios and goals", lay_out(tables.goal_table(report)), paragraph(prose.pair(report))
        ),
        *(_sweep(sweep) for sweep in report.sweeps),
        section("Quality", lay_out(tables.quality_table(report)), paragraph(prose.quality(report))),
        section("Every procedure", lay_out(tables.speed_table(report))),
        section("The machine’s limits", lay_out(tables.limit_table(report))),
        section("Whole processes", lay_out(tables.process_table(report))),
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
    warning = f" {figures.UNSTABLE}"
    plain = text.removesuffix(warning)
    mark = f" <em class=unstable>{figures.UNSTABLE}</em>" if plain != text else ""
    return html.escape(plain) + mark
