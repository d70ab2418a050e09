"""Tables in Markdown, as GitHub shows them."""

import pytest

from charlm.data.pages.markdown import lay_out
from charlm.data.pages.table import CODE, LIMIT, OURS, PLAIN, Row, table


def test_a_table() -> None:
    rows = [Row(("a", "1", "x"), OURS), Row(("b", "2", "y"), LIMIT), Row(("c", "3", "z"), PLAIN)]
    assert lay_out(table(("name", "figure", "word"), rows, words=(2,))).splitlines() == [
        "| name | figure | word |",
        "| --- | --: | --- |",
        "| **a** | 1 | x |",
        "| *b* | 2 | y |",
        "| c | 3 | z |",
    ]


@pytest.mark.parametrize(
    ("text", "cell"),
    [("x", "`x`"), ("|", r"`\|`"), ("`", "`` ` ``"), ("a``", "``` a`` ```"), ("\\", "`\\`")],
)
def test_code_shows_any_character(text: str, cell: str) -> None:
    laid = lay_out(table(("character", "bits"), [Row((text, "1"), CODE)]))
    assert laid.splitlines()[-1] == f"| {cell} | 1 |"


def test_a_bar_in_any_cell_is_no_border() -> None:
    laid = lay_out(table(("a|b", "c"), [Row(("d", "e|f"))]))
    assert laid.splitlines() == [r"| a\|b | c |", "| --- | --: |", r"| d | e\|f |"]
