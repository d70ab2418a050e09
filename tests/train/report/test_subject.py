"""Finding a run's text, and what is said where it can't be found."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from charlm.data.system import console
from charlm.data.text import ids
from charlm.train.keras import import_cli
from charlm.train.report import pictures
from charlm.train.report.output import ReportRequest, make_report

Run = Callable[..., tuple[int, list[str]]]
FILES = {"report.html", "report.md", "report.json"}
KERAS = Path(__file__).parent.parent / "keras"


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of a small report's time, and have their tests elsewhere."""
    monkeypatch.setattr(pictures, "DRAWERS", {})


def test_the_command_writes_beside_the_run(report: Run, copied_run: Path) -> None:
    code, lines = report(copied_run, "--seconds", "0.1", "--sample", "1000")
    assert code == 0
    assert lines[0].startswith(f"{copied_run}: ")
    assert lines[-1] == f"wrote {copied_run / 'report.html'}"
    assert {path.name for path in copied_run.iterdir()} >= FILES


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sample", "10"], "--sample is from 1,000 to 5,000,000"),
        (["--seconds", "nan"], "--seconds is a number above 0"),
        (["--seed", "-1"], "--seed is at least 0"),
        (["--threads", "0"], "--threads is from 1 to 256"),
        (["--corpus", "nowhere.txt"], "can't read nowhere.txt"),
    ],
)
def test_a_mistake_is_one_line(options: list[str], words: str, report: Run, tiny_run: Path) -> None:
    code, lines = report(tiny_run, *options)
    assert (code, len(lines)) == (2, 1)
    assert words in lines[0]


def test_no_run(report: Run, tmp_path: Path) -> None:
    code, lines = report(tmp_path)
    assert (code, len(lines)) == (2, 1)
    assert "is not a run folder: it has no config.json" in lines[0]


def test_a_text_that_changed(report: Run, tiny_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_bytes(b"\xff\x00 not even a text")
    code, lines = report(tiny_run, "--corpus", other)
    assert (code, len(lines)) == (2, 1)
    assert "not the text that" in lines[0]
    assert "--corpus" in lines[0]


def test_a_text_that_is_gone(report: Run, copied_run: Path) -> None:
    from charlm.train.runs.checkpoint import FILE

    (copied_run / FILE).unlink()
    code, lines = report(copied_run)
    assert (code, len(lines)) == (2, 1)
    assert f"charlm-report {copied_run} --corpus TEXT" in lines[0]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"epoch": 1}',
        '{"epoch": "one", "train_bits": 1}',
        '{"epoch": 1, "train_bits": 1}',
        '{"epoch": 1, "train_bits": 1, "seconds": null}',
    ],
)
def test_damaged_metrics(report: Run, copied_run: Path, line: str) -> None:
    (copied_run / "metrics.jsonl").write_text(line)
    code, lines = report(copied_run)
    assert (code, len(lines)) == (2, 1)
    assert "metrics.jsonl: damaged" in lines[0]


def test_many_ids_are_kept_where_the_report_goes(
    copied_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's own folder may be one that can only be read."""
    places: list[Path] = []
    make = tempfile.TemporaryFile

    def spy(dir: Path) -> IO[bytes]:
        places.append(dir)
        return make(dir=dir)

    monkeypatch.setattr(ids, "IN_MEMORY", 0)
    monkeypatch.setattr(tempfile, "TemporaryFile", spy)
    request = ReportRequest(copied_run, out=tmp_path / "reports" / "new", seconds=0.1, sample=1000)
    make_report(request, lambda _: None)
    assert set(places) == {tmp_path}


def test_a_folder_that_cannot_be_written(report: Run, tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, lines = report(tiny_run, "--out", tmp_path / "file" / "below")
    assert (code, len(lines)) == (2, 1)
    assert "can't write the report into" in lines[0]


def test_an_imported_model(report: Run, tmp_path: Path) -> None:
    folder, corpus = tmp_path / "imported", KERAS / "corpus.txt"
    given = [str(KERAS / "notebook-3.keras"), "--corpus", str(corpus), "--out", str(folder)]
    assert console.exit_code(import_cli.app, "charlm-import", given) == 0
    code, lines = report(folder)
    assert (code, len(lines)) == (2, 1)
    assert "does not say where its text is" in lines[0]
    assert report(folder, "--corpus", corpus, "--seconds", "0.1", "--sample", "1000")[0] == 0
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "The model was imported" in text
    assert "How the training went was not recorded." in text
