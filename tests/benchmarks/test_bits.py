"""Bits per character of a text, in a process of its own."""

from dataclasses import replace
from pathlib import Path

import pytest

from charlm.benchmarks import bits
from charlm.benchmarks.harness.settings import PROMPT, CaseSettings
from charlm.infer.model.open import open_model
from charlm.infer.scoring.score import Scorer


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "held-out.txt"
    path.write_text(PROMPT * 10, encoding="utf-8")
    return path


def test_the_figure_is_the_scorers(case_settings: CaseSettings, text: Path) -> None:
    scorer = Scorer(open_model(Path(case_settings.model), "cpu", 1))
    wanted = scorer.score([(PROMPT * 10)[:100]])
    (found,) = bits.measure(["float32"], case_settings, text, 100)
    assert found.bits == pytest.approx(wanted.bits_per_character, rel=1e-5)
    assert (found.characters, found.text, found.skipped) == (99, "held-out.txt", None)


def test_characters_that_the_model_lacks_are_left_out(
    case_settings: CaseSettings, text: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "odd.txt"
    odd.write_text((PROMPT * 10).replace("w", "w☃"), encoding="utf-8")
    assert bits.score(case_settings, odd, 10**6).bits == bits.score(case_settings, text, 400).bits


def test_a_precision_is_measured_where_it_runs(case_settings: CaseSettings, text: Path) -> None:
    """Whichever provider the run is for."""
    on_cuda = replace(case_settings, provider="cuda")
    int8, fp16 = bits.measure(["int8", "fp16"], on_cuda, text, 100)
    assert int8.bits
    (found,) = bits.measure(["fp16"], case_settings, text, 100)
    assert found == fp16
    assert found.bits or (found.skipped or "").startswith("--provider cuda can't run here")


def test_what_can_not_be_scored_says_why(case_settings: CaseSettings, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("", encoding="utf-8")
    (found,) = bits.measure(["float32"], case_settings, empty, 100)
    assert found.bits is None
    assert found.skipped == "empty.txt: too short to score: it takes at least two characters"


def test_a_text_in_chunks_ends_where_it_should() -> None:
    assert "".join(bits._first(["abc", "def", "ghi"], 5)) == "abcde"
