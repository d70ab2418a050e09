"""The HTML page: whole, self-contained, readable without colour, and safe with any text."""

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from charlm.benchmarks.report import bars, page, tables
from charlm.benchmarks.report.page import CSS
from charlm.benchmarks.report.report import Report

pytest.importorskip("matplotlib")
VOID = {"meta", "br", "img", "path", "rect", "use", "link"}


class Outline(HTMLParser):
    """Counts ids and tags, and checks that what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name == "id":
                self.ids[str(value)] += 1
            if name.endswith(("href", "src")):
                self.links.add(str(value))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open.pop() == tag


@pytest.fixture
def text(report: Report) -> str:
    return page.render(report)


def test_every_tag_is_closed_and_no_id_stands_twice(text: str) -> None:
    outline = Outline(text)
    assert outline.open == []
    assert max(outline.ids.values()) == 1
    assert outline.tags["h1"] == 1


def test_the_page_needs_nothing_but_itself(text: str) -> None:
    outline = Outline(text)
    assert outline.tags["script"] == outline.tags["link"] == outline.tags["img"] == 0
    assert all(link.startswith("#") for link in outline.links)
    assert {link[1:] for link in outline.links} <= outline.ids.keys()
    assert not re.search(r"url\((?!#)", text)
    assert "@import" not in text
    assert set(re.findall(r"https?://[\w./]+", text)) <= {
        "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink",
    }  # fmt: skip


def test_pictures_follow_the_theme_and_are_told_in_words(text: str) -> None:
    pictures = re.findall(r"<svg role=\"img\".*?</svg>", text, re.DOTALL)
    assert len(pictures) == 2
    for picture in pictures:
        assert 'aria-label="Speed against' in picture
        assert "var(--ink)" in picture
        used = set(re.findall(r"var\((--[\w-]+)\)", picture))
        assert all(f"{name}:" in CSS for name in used)
        assert "width=" not in picture[: picture.index(">")]
    assert text.count("<summary>The figures</summary>") == 2
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_the_answer_comes_first(text: str) -> None:
    order = ["use this", "Characters a second", "Speed against batch",
             "The machine’s limits", "Machine and method"]  # fmt: skip
    places = [text.index(f">{title}<") for title in order]
    assert places == sorted(places)


def test_unstable_figures_bear_a_word_and_a_sign(report: Report) -> None:
    row = page.lay_out(tables.speed_table(report))
    assert "class=unstable>unstable</em>" in row
    assert ".unstable::before" in CSS


def test_text_from_outside_is_escaped(report: Report) -> None:
    evil = "<script>alert(1)</script>"
    cases = tuple(replace(case, title=evil) for case in report.cases)
    sweep = replace(report.sweeps[0], title=f'a "{evil}')
    changed = replace(
        report, cases=cases, sweeps=(sweep,), machine=replace(report.machine, cpu=evil)
    )
    found = page.render(changed)
    assert Outline(found).tags["script"] == 0
    assert "&lt;script&gt;" in found


def test_a_reason_takes_the_rest_of_its_row(report: Report) -> None:
    shown = page.lay_out(tables.speed_table(report))
    assert "<td class=skip colspan=5>skipped: torch is &lt;not&gt; there</td>" in shown


def test_bars_are_longer_for_what_is_faster(report: Report) -> None:
    drawn = bars.draw(report)
    widths = [float(width) for width in re.findall(r"class=bar [^>]*width=([\d.]+)", drawn)]
    measured = [case for case in report.cases if case.rates]
    assert len(widths) == len(measured)
    by_rate = sorted(zip([max(case.rates) for case in measured], widths, strict=True))
    assert [width for _, width in by_rate] == sorted(widths)
    assert drawn.count("class=limit") == 3  # one text in float32, three procedures


def test_a_page_of_nothing_but_reasons_is_written(report: Report) -> None:
    skipped = tuple(replace(each, rates=(), skipped="why") for each in report.cases)
    empty = replace(report, cases=skipped, sweeps=(), quality=(), flips=(), limits=())
    assert "class=bars" not in page.render(empty)
    assert bars.draw(empty) == ""


def test_a_scale_keeps_what_lies_outside_it_on_the_page() -> None:
    scale = bars.Scale(1, 3)
    assert [scale.at(value) for value in (1.0, 10.0, 100.0, 1e6)] == [0, 0, 500, 1000]
