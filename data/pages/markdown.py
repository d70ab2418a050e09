"""A table in Markdown."""

from charlm.data.pages.table import CODE, LIMIT, OURS, PLAIN, Row, Table

MARKS = {PLAIN: "", OURS: "**", LIMIT: "*", CODE: "`"}


def lay_out(table: Table) -> str:
    """A table in Markdown."""
    places = range(1, len(table.heading))
    rule = ["---", *("---" if place in table.words else "--:" for place in places)]
    lines = [table.heading, rule, *map(_cells, table.rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _cells(row: Row) -> list[str]:
    mark = MARKS[row.kind]
    return [f"{mark}{row.cells[0]}{mark}", *row.cells[1:]]
