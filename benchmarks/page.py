"""A report as one HTML page that holds all it shows: no scripts, no other files, no network."""

import html
from collections.abc import Sequence

from charlm.benchmarks import bars, figures, inline_svg, prose, sweep_plot, tables
from charlm.benchmarks.page_style import CSS
from charlm.benchmarks.report import Report
from charlm.benchmarks.results import SweepResult
from charlm.benchmarks.tables import Row, Table


def render(report: Report) -> str:
    """The page; the same report gives the same bytes."""
    title = f"charlm benchmark, {report.date}"
    sections = [
        _head(report, title),
        _section("Characters a second", bars.draw(report)),
        _section("Ratios and goals", lay_out(tables.goal_table(report)), _p(prose.pair(report))),
        *(_sweep(sweep) for sweep in report.sweeps),
        _section("Quality", lay_out(tables.quality_table(report)), _p(prose.quality(report))),
        _section("Every procedure", lay_out(tables.speed_table(report))),
        _section("The machine’s limits", lay_out(tables.limit_table(report))),
        _section("Whole processes", lay_out(tables.process_table(report))),
        _section("Memory of a long text", _p(prose.memory(report))),
        _section("Flips", lay_out(tables.flips_table(report)), _p(prose.FLIPS)),
        _section("Not measured", _list(prose.not_measured(report))),
        _section("Machine and method", _list(prose.about(report))),
    ]
    body = "\n".join(section for section in sections if section)
    return (
        "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{CSS}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def lay_out(table: Table, kind: str = "wide") -> str:
    """A table in HTML; empty if it has no rows."""
    if not table.rows:
        return ""
    heading = "".join(
        f"<th scope=col{' class=word' if place in table.words else ''}>{html.escape(cell)}</th>"
        for place, cell in enumerate(table.heading)
    )
    rows = "\n".join(_row(row, table.words) for row in table.rows)
    return (
        f"<div class={kind}><table>\n<thead><tr>{heading}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


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
            *(_p(said) for said in prose.rivals(report)),
        ]
    )


def _sweep(sweep: SweepResult) -> str:
    picture = sweep_plot.draw(sweep)
    if picture is None:
        return _section(sweep.title, lay_out(tables.sweep_table(sweep)))
    drawn = inline_svg.inline(picture, sweep.name, html.escape(f"{sweep.title}; figures below"))
    return _section(
        sweep.title,
        f"<figure>{drawn}</figure>",
        f"<details><summary>The figures</summary>{lay_out(tables.sweep_table(sweep))}</details>",
    )


def _section(title: str, first: str, *others: str) -> str:
    """A section; empty where its first part is."""
    if not first:
        return ""
    body = "\n".join(part for part in (first, *others) if part)
    return f"<section>\n<h2>{html.escape(title)}</h2>\n{body}\n</section>"


def _row(row: Row, words: Sequence[int]) -> str:
    if row.cells[1].startswith("skipped: "):
        cells = f"<td>{_cell(row.cells[0])}</td><td class=skip colspan={len(row.cells) - 1}>"
        return f"<tr class={row.kind}>{cells}{_cell(row.cells[1])}</td></tr>"
    cells = "".join(
        f"<td{' class=word' if place in words else ''}>{_cell(cell)}</td>"
        for place, cell in enumerate(row.cells)
    )
    return f"<tr class={row.kind}>{cells}</tr>"


def _cell(text: str) -> str:
    warning = f" {figures.UNSTABLE}"
    plain = text.removesuffix(warning)
    mark = f" <em class=unstable>{figures.UNSTABLE}</em>" if plain != text else ""
    return html.escape(plain) + mark


def _p(text: str) -> str:
    return f"<p>{html.escape(text)}</p>" if text else ""


def _list(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>\n" for line in lines)
    return f"<ul>\n{items}</ul>" if lines else ""
