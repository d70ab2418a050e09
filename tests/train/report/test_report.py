"""A report from a run folder: its files, and what they say."""

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from charlm.data.system.errors import RunError
from charlm.train import report as files
from charlm.train.loop.evaluate import bits_per_character
from charlm.train.report import page, pictures
from charlm.train.report.measure import DrawnText, Evidence, measure
from charlm.train.report.output import ReportRequest, make_report
from charlm.train.report.page import CSS
from charlm.train.report.reading import Drift
from charlm.train.report.sections import verdict
from charlm.train.report.subject import read_subject

VOID = {"meta", "br", "path", "use", "link"}


class Outline(HTMLParser):
    """Checks that what is opened is closed, and keeps ids and links."""

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
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_files(reported: Path) -> None:
    assert {path.name for path in reported.iterdir()} == set(files.ALL), "no loose pictures"


def test_files_of_others_are_not_written_over(tiny_run: Path, tmp_path: Path) -> None:
    for content in ("mine", '["extent"]', "7"):
        (tmp_path / files.FIGURES).write_text(content)
        with pytest.raises(RunError, match=r"holds report\.json of something else than a report"):
            make_report(ReportRequest(tiny_run, out=tmp_path), say=str)
        assert (tmp_path / files.FIGURES).read_text() == content


def test_the_page_is_whole_and_needs_nothing_but_itself(reported: Path) -> None:
    text = (reported / "report.html").read_text(encoding="utf-8")
    outline = Outline(text)
    assert outline.open == []
    assert max(outline.ids.values()) == 1
    assert outline.tags["script"] == outline.tags["link"] == outline.tags["img"] == 0
    assert {link.removeprefix("#") for link in outline.links} <= outline.ids.keys()
    assert set(re.findall(r"https?://[\w./]+", text)) <= {
        "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink",
    }  # fmt: skip
    drawn = re.findall(r"<svg role=\"img\" aria-label=.*?</svg>", text, re.DOTALL)
    assert len(drawn) == len(pictures.DRAWERS)
    used = set(re.findall(r"var\((--[\w-]+)\)", text))
    assert all(f"{name}:" in CSS for name in used)
    assert not re.search(r"(fill|stroke): #(?!fff)[0-9a-f]{6}", "".join(drawn)), "no theme"


def test_contents_lead_to_every_section(reported: Path) -> None:
    outline = Outline((reported / "report.html").read_text(encoding="utf-8"))
    assert {"#what-to-try-next", "#how-good", "#samples"} <= outline.links


def test_no_path_of_this_machine_but_in_commands(
    reported: Path, tiny_text: Path, evidence: Evidence
) -> None:
    for name in (files.PAGE, files.TEXT, files.FIGURES):
        content = (reported / name).read_text(encoding="utf-8")
        for each in evidence.advice:
            content = content.replace(each.command, "")
        assert str(tiny_text.parent) not in content


def test_the_same_run_gives_the_same_bytes(reported: Path, tiny_run: Path, tmp_path: Path) -> None:
    make_report(ReportRequest(tiny_run, out=tmp_path, seconds=0.1, sample=2000), lambda _: None)
    for name in files.ALL:
        assert (tmp_path / name).read_bytes() == (reported / name).read_bytes()


def test_bits_are_those_of_the_training(evidence: Evidence, tiny_run: Path) -> None:
    results = json.loads((tiny_run / "config.json").read_text(encoding="utf-8"))["results"]
    assert evidence.bits == pytest.approx(results["test_bits_per_character"], abs=1e-4)
    assert evidence.context[-1].length is None
    assert evidence.context[-1].bits == pytest.approx(evidence.bits, abs=1e-6)
    last = evidence.curve[-1]
    assert last.validation_bits == pytest.approx(results["validation_bits_per_character"], abs=1e-5)
    assert last.characters == 2 * (len_learnt(evidence) - 1)
    assert last.seconds is not None


def len_learnt(evidence: Evidence) -> int:
    return int(evidence.about["text"].split(": ")[1].split(", ")[1].split()[0].replace(",", ""))


def test_one_text_gives_figures_that_agree(evidence: Evidence) -> None:
    assert len(evidence.ngrams) == 6
    assert evidence.drift.lap == evidence.extent.held_out == 300
    assert evidence.drift.characters == evidence.extent.long
    assert all(len(each.text) >= each.longest for each in evidence.copies)
    assert sum(each.share for each in evidence.hardest) <= 1
    assert [each.temperature for each in evidence.samples] == [0.5, 0.7, 1.0, 1.2]
    floor = evidence.distances[-1]
    assert floor.name == "training text"
    assert all(floor.values[name] < 1 for name in floor.values)


def test_text_of_the_model_is_escaped(evidence: Evidence) -> None:
    evil = "<script>alert(1)</script> ``` | \x07"
    changed = replace(evidence, name=evil, samples=(DrawnText(1.0, evil),))
    text = page.html_page(changed, {})
    assert Outline(text).tags["script"] == 0
    assert "\x07" not in text
    assert "````text" in page.markdown(changed)


def test_the_gap_names_the_segments_that_were_read(evidence: Evidence, reported: Path) -> None:
    assert evidence.gap_length == evidence.extent.held_out - 1 == 299
    assert "In segments of 299 characters" in (reported / files.TEXT).read_text(encoding="utf-8")


def test_drift_compares_laps_or_tenths() -> None:
    laps = Drift(30, 10, (2.0, 2.5, 3.0), 10, {1: (2.0,), 3: (3.0,)}, (30,), (1.0,), (1.0,))
    assert laps.first_and_last() == (2.0, 3.0)
    one = replace(laps, laps=(2.5,), curves={1: tuple(float(n) for n in range(20))})
    assert one.first_and_last() == (0.5, 18.5)


@pytest.mark.parametrize("character", ["$", "_", "\\", "\n", "\u200b", "漢"])
def test_any_character_can_be_drawn(evidence: Evidence, character: str) -> None:
    hardest = tuple(replace(each, character=character) for each in evidence.hardest[:2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "DRAWERS", {"characters": pictures.DRAWERS["characters"]})
        drawn = pictures.draw_all(replace(evidence, hardest=hardest))
    root = ET.fromstring(drawn["characters"])
    assert pictures.shown(character) in "".join(root.itertext())


def test_a_model_worse_than_all_baselines_is_in_the_picture(evidence: Evidence) -> None:
    figure = Figure()
    assert pictures.DRAWERS["baselines"](figure, replace(evidence, bits=9.0))
    assert figure.axes[0].get_xlim()[1] > 9


def test_the_headline_does_not_flatter(
    evidence: Evidence, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a text whose end is harder than its beginning, a part is spread over all of it."""
    subject = read_subject(tiny_run)
    easy = subject.splits.train[:2000]
    hard = np.full_like(easy, np.bincount(subject.splits.train).argmin())
    splits = subject.splits._replace(test=np.concatenate([easy, hard]))
    harder = replace(subject, splits=splits)
    extent = replace(evidence.extent, held_out=1000)
    whole = bits_per_character(subject.run.model, splits.test)
    assert bits_per_character(subject.run.model, easy[:1000]) < whole - 0.3, "its head would"
    monkeypatch.setitem(subject.run.summary["results"], "test_bits_per_character", round(whole, 5))
    told = measure(harder, extent, 0, lambda _: None)
    assert (told.bits, told.judged) == (round(whole, 5), 4000)
    assert f"{whole:.3f} bits per character of held-out text (all 4,000" in verdict(told)
    monkeypatch.setitem(subject.run.summary["results"], "test_bits_per_character", None)
    part = measure(harder, extent, 0, lambda _: None)
    assert part.bits == pytest.approx(whole, abs=0.15)
    assert "(on 1,000 of 4,000 characters, spread evenly)" in verdict(part)


def test_the_best_baseline_of_any_kind_is_named(evidence: Evidence) -> None:
    squeezed = (replace(evidence.compressed[0], name="xz", after=1.25), *evidence.compressed[1:])
    told = verdict(replace(evidence, bits=2.0, ngrams=(3.0, 1.5), compressed=squeezed))
    assert told.endswith("0.750 more than the best baseline, xz.")
