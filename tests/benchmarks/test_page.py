"""The HTML page: whole, self-contained, readable without colour, and safe with any text."""

import html
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from charlm.benchmarks.lineup import SWEEPS
from charlm.benchmarks.report import page, plots, tables
from charlm.benchmarks.report.page import CSS
from charlm.benchmarks.report.report import BenchReport
from charlm.data.pages import picture

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
def text(report: BenchReport) -> str:
    return page.render_html(report, plots.draw(report))


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
    for each in pictures:
        assert re.search('aria-label="(Speed against|Characters a second)', each)
        assert "var(--ink)" in each
        used = set(re.findall(r"var\((--[\w-]+)\)", each))
        assert all(f"{name}:" in CSS for name in used)
        assert "width=" not in each[: each.index(">")]
    assert text.count("<summary>The figures</summary>") == 1
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_the_answer_comes_first(text: str) -> None:
    order = ["use this", "Characters a second", "Speed against batch",
             "Whole processes", "Machine and method"]  # fmt: skip
    places = [text.index(f">{title}<") for title in order]
    assert places == sorted(places)


def test_unstable_figures_bear_a_word_and_a_sign(report: BenchReport) -> None:
    row = page.table_html(tables.speed_table(report))
    assert "class=unstable>unstable</em> 10 to 20<" in row
    assert ".unstable::before" in CSS


def test_text_from_outside_is_escaped(report: BenchReport) -> None:
    evil = "<script>alert(1)</script>"
    cases = tuple(replace(case, title=evil) for case in report.cases)
    sweep = replace(report.sweeps[0], title=f'a "{evil}')
    changed = replace(
        report, cases=cases, sweeps=(sweep,), machine=replace(report.machine, cpu=evil)
    )
    found = page.render_html(changed, plots.draw(changed))
    assert Outline(found).tags["script"] == 0
    assert "&lt;script&gt;" in found


def test_a_reason_takes_the_rest_of_its_row(report: BenchReport) -> None:
    shown = page.table_html(tables.speed_table(report))
    assert "<td class=skip colspan=6>skipped: torch is &lt;not&gt; there</td>" in shown


def test_the_picture_of_speeds_names_every_procedure_and_its_figures(report: BenchReport) -> None:
    drawn = plots.draw_speeds(report)
    assert drawn is not None
    shown = drawn.decode()
    for case in report.cases:
        assert (f">{case.title}<" in shown) == bool(case.rates)
    for text in ("one text", "many texts", "88,000", "5,500", "10k", "× notebook"):
        assert f">{text}<" in shown
    names = ("charlm, int8", "charlm, 64 steps", "charlm", "notebook", "many texts")
    places = [shown.index(f">{name}<") for name in names]
    assert places == sorted(places), "the fastest first, by job"


def test_float32s_limit_is_a_dashed_line_that_bears_its_name(report: BenchReport) -> None:
    shown = (plots.draw_speeds(report) or b"").decode()
    assert shown.count(">float32's limit<") == shown.count("stroke-dasharray: ") == 1
    other = tuple(replace(each, precision="int8") for each in report.cases)
    assert b"limit" not in (plots.draw_speeds(replace(report, cases=other)) or b"")


def test_a_picture_follows_the_theme_of_its_reader(report: BenchReport) -> None:
    drawn = (plots.draw_speeds(report) or b"").decode()
    dark = re.search(
        r"<style>@media \(prefers-color-scheme: dark\) (.*?)</style>", drawn, re.DOTALL
    )
    assert dark is not None
    drawn = drawn.replace(dark[0], "")
    for what, colour in set(re.findall(r"(fill|stroke): (#\w{6})", drawn)):
        assert f'[style*="{what}: {colour}"]' in dark[1]


def test_on_a_phone_every_figure_bears_its_columns_name(report: BenchReport) -> None:
    row = page.table_html(tables.speed_table(report)).split("<tr")[-1]
    headings = re.findall(r"data-heading=\"(.*?)\"", html.unescape(row))
    assert headings == list(tables.speed_table(report).heading)
    assert "attr(data-heading)" in CSS


def test_two_sentences_say_what_was_measured_and_against_what(report: BenchReport) -> None:
    for cores, said in ((1, "one core"), (4, "4 cores")):
        found = replace(report, threads=cores)
        for text in (page.render_markdown(found, {}), html.unescape(page.render_html(found, {}))):
            assert f"each on {said}" in text
            assert "with the notebook" in text
            assert "with float32's limit" in text


def test_without_the_notebook_nothing_is_said_to_be_compared_with_it(report: BenchReport) -> None:
    found = replace(report, cases=report.cases[1:])
    assert "Compared: with float32's limit" in page.render_markdown(found, {})
    assert b"notebook" not in (plots.draw_speeds(found) or b"")


def test_a_picture_of_a_sweep_names_every_line(report: BenchReport) -> None:
    drawn = plots.draw_sweep(report.sweeps[0])
    assert drawn is not None
    for name in (b"charlm", b"Torch", b"float32's limit, many texts", b"texts in one batch"):
        assert name in drawn


def test_nothing_measured_is_no_picture(report: BenchReport) -> None:
    only = tuple(series for series in report.sweeps[0].series if series.is_limit)
    skipped = tuple(replace(each, rates=(), skipped="why") for each in report.cases)
    empty = replace(report, cases=skipped, sweeps=(replace(report.sweeps[0], series=only),))
    assert plots.draw(empty) == {}
    assert "<svg" not in page.render_html(empty, {})


def test_every_line_of_a_sweep_has_a_colour_and_a_marker_of_its_own() -> None:
    most = max(len(each.titles) for each in SWEEPS)
    assert len(set(picture.COLOURS)) >= most
    assert len(set(picture.MARKERS)) >= most


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0, "1"), (20_000.0, "20k"), (1.5e6, "1.5M"), (2e9, "2G")]
)
def test_figures_of_an_axis_are_short(value: float, shown: str) -> None:
    assert picture.short(value) == shown
