"""A report as Markdown: the whole of it, and the table of speeds by itself."""

from collections.abc import Sequence

from charlm.benchmarks.report import prose, tables
from charlm.benchmarks.report.report import Report
from charlm.data.pages.markdown import lay_out
from charlm.data.pages.table import Table


def render(report: Report, pictures: Sequence[str] = ()) -> str:
    """The report, ready to be read on its own.

    Args:
        report: the report.
        pictures: names of the pictures beside it; a sweep's is named after the sweep.
    """
    sections = [f"# charlm benchmark, {report.date}"]
    if warned := prose.warning(report):
        sections.append(f"> **Warning:** {warned}")
    answers = tables.answer_table(report)
    if answers.rows:
        sections.append(lay_out(answers))
    sections += [*prose.rivals(report), _picture("speed", "Characters a second", pictures)]
    sections += ["## Every procedure", speed_table(report)]
    for sweep in report.sweeps:
        picture = _picture(sweep.name, sweep.title, pictures)
        sections += _section(sweep.title, tables.sweep_table(sweep), picture)
    sections += _section("Quality", tables.quality_table(report), prose.quality(report))
    sections += _section("The machine's limits", tables.limit_table(report))
    sections += _section("Whole processes", tables.process_table(report), prose.pair(report))
    if report.memory is not None:
        sections += ["## Memory of a long text", prose.memory(report)]
    sections += _section("Flips", tables.flips_table(report), prose.FLIPS)
    if reasons := prose.not_measured(report):
        sections += ["## Not measured", _list(reasons)]
    sections += ["## Machine and method", _list(prose.about(report))]
    return "\n\n".join(section for section in sections if section) + "\n"


def speed_table(report: Report) -> str:
    """The procedures as a Markdown table."""
    return lay_out(tables.speed_table(report))


def _section(title: str, table: Table, *others: str) -> list[str]:
    return [f"## {title}", lay_out(table), *others] if table.rows else []


def _picture(name: str, title: str, pictures: Sequence[str]) -> str:
    return f"![{title}]({name}.svg)" if f"{name}.svg" in pictures else ""


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
