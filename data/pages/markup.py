"""The parts of an HTML page that holds all it shows: no scripts, no other files, no network."""

import html
from collections.abc import Callable, Sequence

from charlm.data.pages.table import Row, Table

Cell = Callable[[str], str]


def document(title: str, css: str, body: str) -> str:
    """A whole page."""
    return (
        "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{css}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def section(title: str, first: str, *others: str) -> str:
    """A section; empty where its first part is."""
    if not first:
        return ""
    body = "\n".join(part for part in (first, *others) if part)
    return f"<section>\n<h2>{html.escape(title)}</h2>\n{body}\n</section>"


def paragraph(text: str) -> str:
    """A paragraph of plain text; empty where that is."""
    return f"<p>{html.escape(text)}</p>" if text else ""


def items(lines: Sequence[str]) -> str:
    """A list of plain lines; empty without any."""
    found = "".join(f"<li>{html.escape(line)}</li>\n" for line in lines)
    return f"<ul>\n{found}</ul>" if lines else ""


def lay_out(table: Table, kind: str = "wide", cell: Cell = html.escape) -> str:
    """A table in HTML; empty if it has no rows.

    Args:
        table: whose row with a second cell that begins with `skipped: ` has nothing after it.
        kind: class of what is around the table.
        cell: makes HTML of a cell's text.
    """
    if not table.rows:
        return ""
    heading = "".join(
        f"<th scope=col{' class=word' if place in table.words else ''}>{html.escape(each)}</th>"
        for place, each in enumerate(table.heading)
    )
    rows = "\n".join(_row(row, table, cell) for row in table.rows)
    return (
        f"<div class={kind}><table>\n<thead><tr>{heading}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


def _row(row: Row, table: Table, cell: Cell) -> str:
    """A line; each cell bears its column's heading, for where a phone stacks the cells."""
    if row.cells[1].startswith("skipped: "):
        cells = f"<td>{cell(row.cells[0])}</td><td class=skip colspan={len(row.cells) - 1}>"
        return f"<tr class={row.kind}>{cells}{cell(row.cells[1])}</td></tr>"
    cells = "".join(
        f"<td{' class=word' if place in table.words else ''}{_heading(name)}>{cell(each)}</td>"
        for place, (name, each) in enumerate(zip(table.heading, row.cells, strict=True))
    )
    return f"<tr class={row.kind}>{cells}</tr>"


def _heading(name: str) -> str:
    return f' data-heading="{html.escape(name)}"'
