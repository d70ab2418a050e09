"""Corpora with rare characters: what a run records of them, and resuming it."""

import json
from pathlib import Path

import numpy as np
import pytest

from charlm.data.text.rare import MIN_COUNT, REPLACEMENT
from charlm.train.report.subject import read_subject
from charlm.train.runs import run_folder
from charlm.train.runs.checkpoint import Checkpoint
from charlm.train.runs.resume import resume
from charlm.train.setup.start import RunRequest
from tests.train.helpers import Train, refused, stopping_after

FAST = [
    "--hidden", "4", "--epochs", "2", "--batch-size", "2", "--seq-len", "256", "--threads", "1",
    "--device", "cpu",
]  # fmt: skip
COMMON = 520  # characters that every part of the text has


@pytest.fixture(scope="module")
def chinese(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """520 ideographs ten times over; every 50th character is one that is seen once."""
    text = [chr(0x4E00 + place) for place in range(COMMON)] * 10
    text[::50] = [chr(0x6E00 + place) for place in range(len(text[::50]))]
    path = tmp_path_factory.mktemp("chinese") / "zh.txt"
    path.write_text("".join(text), encoding="utf-8")
    return path


@pytest.fixture
def stopped(chinese: Path, tmp_path: Path, train: Train) -> Path:
    """A run with one of two epochs, of ten steps, behind it."""
    folder = tmp_path / "stopped"
    with stopping_after(11):
        assert train(chinese, "--out", folder, *FAST)[0] == 128
    assert Checkpoint.load(folder).progress.epoch == 1
    return folder


def test_what_was_limited_is_said_and_recorded(chinese: Path, tmp_path: Path, train: Train) -> None:
    code, lines = train(chinese, "--out", tmp_path / "run", *FAST)
    assert code == 0
    said = (
        "104 characters are rare (fewer than 3 in the part that is learnt from), 2.01% of what "
        "is learnt from and 1.92% of the rest: each becomes '\ufffd' (U+FFFD)"
    )
    assert lines[1] == f"{tmp_path / 'run'}: {said}"
    assert "bits/char, rare characters counted as '\ufffd' (U+FFFD) (epoch" in lines[-2]
    config = json.loads((tmp_path / "run" / run_folder.CONFIG).read_text(encoding="utf-8"))
    assert config["rare"] == {
        "policy": "replace", "replacement": REPLACEMENT, "min_count": MIN_COUNT,
        "max_vocabulary": 8192, "characters": 104, "share": 0.020085, "held_out_share": 0.019231,
    }  # fmt: skip
    found = run_folder.load_run(tmp_path / "run")
    assert found.rare == Checkpoint.load(tmp_path / "run").setup.rare
    assert len(found.vocabulary) == COMMON + 1
    share = found.initial[found.vocabulary.id_of(REPLACEMENT)]
    assert share == pytest.approx(0.020085, abs=1e-6), "it is learnt from as the others are"
    card = (tmp_path / "run" / run_folder.CARD).read_text(encoding="utf-8")
    assert f"| rare characters | {said} |" in card
    assert "state carried, rare characters counted as '\ufffd' (U+FFFD) |" in card


def test_rare_characters_are_left_out_where_asked(
    chinese: Path, tmp_path: Path, train: Train
) -> None:
    code, lines = train(chinese, "--out", tmp_path / "run", *FAST, "--rare", "drop")
    assert code == 0
    assert f"{COMMON * 10 - 104:,} characters, {COMMON} distinct" in lines[0]
    assert lines[1].endswith("each is left out")
    assert "bits/char, rare characters left out (epoch" in lines[-2]
    assert run_folder.load_run(tmp_path / "run").rare.unknown == "drop"


def test_a_plain_text_is_as_ever(tiny_run: Path) -> None:
    setup = Checkpoint.load(tiny_run).setup
    assert (setup.rare.policy, setup.rare.characters) == ("error", 0)
    assert "| rare characters | none |" in (tiny_run / run_folder.CARD).read_text(encoding="utf-8")


def test_a_resumed_run_is_an_unbroken_one_bit_for_bit(
    chinese: Path, stopped: Path, tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the defaults have become others since."""
    assert train(chinese, "--out", tmp_path / "whole", *FAST)[0] == 0
    monkeypatch.setattr("charlm.data.text.limit.MIN_COUNT", 1)
    monkeypatch.setattr("charlm.data.text.limit.MAX_VOCABULARY", 100)
    options = ["--rare", "replace", "--min-count", 3, "--max-vocabulary", 8192]
    assert train("--resume", "--out", stopped, *options)[0] == 0
    name = run_folder.WEIGHTS
    assert (stopped / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert Checkpoint.load(stopped).setup == Checkpoint.load(tmp_path / "whole").setup


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rare", "drop"], "--rare \ufffd, not drop"),
        (["--rare", "?"], "--rare \ufffd, not ?"),
        (["--min-count", "2", "--max-vocabulary", "0"], "--min-count 3, not 2; --max-vocabulary"),
    ],
)
def test_a_resumed_run_keeps_what_was_begun_with(
    options: list[str], words: str, stopped: Path, train: Train
) -> None:
    line = refused(train, "--resume", "--out", stopped, *options)
    assert f"{stopped} was begun with {words}" in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rare", "guess"], "--rare is error, drop, replace, or the one character"),
        (["--rare", "\n", "--newlines", "drop"], "choose another"),
        (["--min-count", "-1"], "--min-count is at least 0"),
        (["--max-vocabulary", "1"], "--max-vocabulary is at least 2"),
        (["--rare", "error"], "'\u6e00' (U+6E00), '\u6e01' (U+6E01)"),
        (["--min-count", "11"], "all characters are rare"),
        (["--rare", "drop", "--max-vocabulary", "4"], "characters after normalisation"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_no_run(
    options: list[str], words: str, chinese: Path, tmp_path: Path, train: Train
) -> None:
    assert words in refused(train, chinese, "--out", tmp_path / "run", *FAST, *options)
    assert not (tmp_path / "run").exists()


def test_a_run_that_came_to_another_text_reads_it_the_same_way_ever_after(
    stopped: Path, tmp_path: Path
) -> None:
    """What is rare was settled when it began, by the text of then."""
    common = [chr(0x4E00 + place) for place in range(COMMON)]
    other = tmp_path / "other.txt"
    other.write_text(common[0] + "".join(common[1:]) * 9 + "犬" * 50, encoding="utf-8")
    began = Checkpoint.load(stopped).setup
    first = resume(stopped, RunRequest(texts=(other,), accept_changes=True))
    assert first.progress is not None
    Checkpoint(first.setup, first.progress).save(stopped)  # as the trainer does at once
    second = resume(stopped, RunRequest())
    for ours, theirs in zip(first.splits, second.splits, strict=True):
        assert (ours == theirs).all()
    read = read_subject(stopped)
    assert (read.splits.train == first.splits.train).all()
    assert second.setup.vocabulary == began.vocabulary
    text = "".join(began.vocabulary[token] for token in np.concatenate(second.splits))
    assert text == other.read_text(encoding="utf-8").replace("犬", REPLACEMENT)
