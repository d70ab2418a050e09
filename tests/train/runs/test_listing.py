"""`charlm runs`: the runs of a folder in a table."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from charlm.data.system import console
from charlm.train.runs.cli import app
from charlm.train.runs.listing import list_runs
from charlm.train.runs.lock import FolderLock

Change = Callable[..., Path]


@pytest.fixture
def another(tiny_run: Path, tmp_path: Path) -> Change:
    """A run whose `config.json` says something else."""

    def make(name: str, **results: object) -> Path:
        folder = Path(shutil.copytree(tiny_run, tmp_path / "runs" / name))
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config["results"] |= results
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return folder

    return make


def test_the_best_run_is_first_and_each_has_its_state(
    another: Change, begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    another("worse", test_bits_per_character=3.25, seconds=90.0)
    another("better", test_bits_per_character=2.5)
    shutil.copytree(begun, tmp_path / "runs" / "stopped")
    (another("broken") / "config.json").write_text("{")
    (tmp_path / "runs" / "new").mkdir()
    (tmp_path / "runs" / "new" / "training_state.pt").touch()
    (another("lost") / "config.json").unlink()
    assert console.exit_code(app, "charlm runs", [str(tmp_path / "runs")]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["run", "text", "model"]
    rows = [line.split() for line in lines]
    names = [Path(row[0]).name for row in rows]
    assert names == ["better", "worse", "stopped", "broken", "lost", "new"]
    assert rows[1][1:] == ["tiny.txt", "2", "x", "LSTM(16)", "2", "1.5", "3.250", "finished"]
    assert " ".join(rows[2][-4:]) == "stopped at 38 %"
    assert rows[3][1:] == ["damaged"]
    assert rows[4][1:] == ["damaged"]
    assert rows[5][1:] == ["no", "epoch", "yet"]
    assert console.exit_code(app, "charlm runs", [str(tmp_path / "runs"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [Path(each["folder"]).name for each in found] == names
    assert found[0]["validation_bits"] > 0


def test_a_run_that_is_being_trained(another: Change) -> None:
    pytest.importorskip("fcntl")
    folder = another("running", finished=False)
    with FolderLock() as lock:
        lock.take(folder)
        assert [run.state for run in list_runs(folder.parent)] == ["running"]
    assert list_runs(folder.parent)[0].state == "stopped at 100 %"


def test_no_runs_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert console.exit_code(app, "charlm runs", [str(tmp_path)]) == 2
    assert "train one with charlm-train" in capsys.readouterr().err
