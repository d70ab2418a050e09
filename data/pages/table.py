"""A table as plain cells, for Markdown and HTML to lay out."""

from collections.abc import Sequence
from dataclasses import dataclass

PLAIN, OURS, LIMIT, CODE = "plain", "ours", "limit", "code"


@dataclass(frozen=True)
class Row:
    """A line of a table; `kind` says how its first cell stands out."""

    cells: tuple[str, ...]
    kind: str = PLAIN


@dataclass(frozen=True)
class Table:
    """Heading and lines; every column but the first is of figures, unless named in `words`."""

    heading: tuple[str, ...]
    rows: tuple[Row, ...]
    words: tuple[int, ...] = ()


def table(heading: Sequence[str], rows: Sequence[Row], words: Sequence[int] = ()) -> Table:
    """A table of rows in any sequence."""
    return Table(tuple(heading), tuple(rows), tuple(words))
