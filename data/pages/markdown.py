"""A table in Markdown."""

import re

from charlm.data.pages.table import CODE, LIMIT, OURS, PLAIN, Row, Table

MARKS = {PLAIN: "", OURS: "**", LIMIT: "*"}


def lay_out(table: Table) -> str:
    """A table in Markdown."""
    places = range(1, len(table.heading))
    rule = ["---", *("---" if place in table.words else "--:" for place in places)]
    lines = [table.heading, rule, *map(_cells, table.rows)]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _cells(row: Row) -> list[str]:
    first, *others = row.cells
    if row.kind == CODE:
        return [_code(first), *others]
    mark = MARKS[row.kind]
    return [f"{mark}{first}{mark}", *others]


def _escaped(cell: str) -> str:
    """A bar that is text is escaped in a table, in code too."""
    return cell.replace("|", r"\|")


def _code(text: str) -> str:
    """A code span; one of backticks has more of them around it, and spaces that are not shown."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest else ""
    return f"{fence}{space}{text}{space}{fence}"
