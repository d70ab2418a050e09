"""The notebook study: held-out text judged both ways, records, table and picture."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from charlm.benchmarks.study import __main__ as command
from charlm.benchmarks.study import page
from charlm.benchmarks.study.record import EpochRecord, append, judge, read
from charlm.data.system import console
from charlm.data.system.errors import SettingsError
from charlm.train.config import WINDOW, ModelConfig
from charlm.train.model import CharLSTM

SIDES = {
    "notebook, Torch": ((900.0, 2.3), (1800.0, 2.16)),
    "stateful, epochs: 2": ((30.0, 2.2), (60.0, 2.1)),
    "stateful, epochs: 1": ((40.0, 2.12),),
}


@pytest.fixture(scope="module")
def model() -> CharLSTM:
    model = CharLSTM(ModelConfig(7, 5))
    model.initialise(torch.Generator().manual_seed(0))
    return model.eval()


@pytest.fixture
def records(tmp_path: Path) -> list[EpochRecord]:
    path = tmp_path / "records.jsonl"
    for side, epochs in SIDES.items():
        for epoch, (seconds, bits) in enumerate(epochs, 1):
            append(path, EpochRecord(side, epoch, seconds, bits, bits, bits - 0.01, "a processor"))
    return read(path)


def test_windows_begin_from_a_zero_state(model: CharLSTM) -> None:
    ids = np.random.default_rng(0).integers(7, size=WINDOW + 30)
    nats = []
    for end in range(WINDOW, len(ids)):
        state = model.zero_state(1)
        for token in ids[end - WINDOW : end]:
            logits, state = model.step(torch.tensor([token]), state)
        nats.append(-logits.log_softmax(1)[0, ids[end]].item())
    window, carried = judge(model, ids)
    assert window == pytest.approx(np.mean(nats) / math.log(2), abs=1e-5)
    assert window != carried


def test_nothing_is_dropped_while_judging(model: CharLSTM) -> None:
    dropping = CharLSTM(ModelConfig(7, 5, dropout=0.5))
    dropping.load_state_dict(model.state_dict())
    ids = np.random.default_rng(0).integers(7, size=WINDOW + 30)
    assert judge(dropping.train(), ids) == judge(model, ids)


def test_the_page_says_when_the_notebook_was_passed(
    records: list[EpochRecord], tmp_path: Path
) -> None:
    page.write(records, tmp_path / "study")
    text = (tmp_path / "study" / "study.md").read_text(encoding="utf-8")
    assert "2.160 bits per character (window) in 2 epochs and 30.0 minutes" in text
    assert "2.110 (carried) after 0.7 minutes, 1/45 of that" in text
    assert text.count("of CPU time; stateful") == 1
    ends = "| notebook, Torch | 2 | 30.0 min | 2.1600 | 2.1500 | -0.0100 |"
    assert ends in text
    assert "| **2** | 60 s | 2.100 | 2.1000 | 2.0900 |" in text
    picture = (tmp_path / "study" / "study.svg").read_bytes()
    assert picture == page.draw(page.by_side(records)), "the same records, other bytes"


def test_every_side_is_in_the_picture(records: list[EpochRecord]) -> None:
    sides = {f"side {n}": records[:2] for n in range(len(page.COLOURS) + 1)}
    picture = page.draw(sides).decode("utf-8")
    assert all(f">{side}<" in picture for side in sides)


@pytest.mark.parametrize("line", ["once upon a time", "[1]", '{"side": "ours"}', "3"])
def test_a_file_that_has_no_records_is_named(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "text.txt"
    path.write_text(line)
    given = ["draw", str(path), "--out", str(tmp_path / "study")]
    assert console.exit_code(command.app, "study", given) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert f"{path}: no records of a study: " in said


@pytest.mark.parametrize("side", ["notebook-torch", "notebook-keras", "stateful"])
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--epochs", "0"], "--epochs is from 1 to 1000000000, not 0"),
        (["--threads", "0"], "--threads is from 1"),
        (["--hidden", "0"], "--hidden is from 1"),
        (["--records", "a file/records.jsonl"], "can't write a file/records.jsonl"),
        ([], "800 characters after normalisation, and the last 5 % must hold more than a window"),
    ],
)
def test_what_would_fail_later_is_refused_before_training(
    side: str, options: list[str], says: str, tmp_path: Path, prose: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("a file").touch()
    text = prose if options else "the lamp, " * 80
    Path("text.txt").write_text(text, encoding="utf-8")
    given = ["run", side, "text.txt", "--records", "records.jsonl", *options]
    assert console.exit_code(command.app, "study", given) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert says in said
    assert not Path("records.jsonl").exists()


def test_nothing_recorded(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no records"):
        page.write([], tmp_path)


def test_both_of_torchs_sides_run(tiny_text: Path, tmp_path: Path) -> None:
    to = tmp_path / "a new folder" / "records.jsonl"
    for side in ("notebook-torch", "stateful"):
        given = ["run", side, str(tiny_text), "--records", str(to), "--epochs", "1"]
        given += ["--hidden", "8"]
        assert console.exit_code(command.app, "study", given) == 0
    sides = page.by_side(read(to))
    assert list(sides) == ["notebook, Torch", "stateful, epochs: 1"]
    assert all(0 < own[0].carried_bits < 8 and own[0].cpu_seconds > 0 for own in sides.values())
