"""The report at the end of a training, which nothing that happens to it may cost."""

from collections.abc import Callable
from pathlib import Path

import pytest

from charlm.train import report as files
from charlm.train.report import measure, output, pictures
from charlm.train.runs.checkpoint import Checkpoint

pytest.importorskip("matplotlib")
Train = Callable[..., tuple[int, list[str]]]
FAST = ["--hidden", "8", "--epochs", "1", "--batch-size", "4", "--seq-len", "32", "--report"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "LEAST_SECONDS", 0.1)
    monkeypatch.setattr(pictures, "PICTURES", ("baselines",))


def test_a_training_ends_with_its_report(train: Train, tiny_text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, lines = train(tiny_text, "--out", run, *FAST)
    assert code == 0
    assert f"{run / 'report.html'}: " in lines[-3]
    assert lines[-2].startswith("try next: ")
    assert lines[-1].startswith("next: charlm-export")
    assert train("--resume", "--out", run)[1][-1].endswith("its files were written anew")
    written = {files.PAGE, files.TEXT, files.FIGURES, files.picture("baselines")}
    assert written <= {path.name for path in run.iterdir()}
    assert train(tiny_text, "--out", run, *FAST[:-1], "--overwrite")[0] == 0
    assert not set(files.ALL) & {path.name for path in run.iterdir()}, "of the run before"


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (ValueError("no\nluck"), "no report: no luck; make it with: charlm-report"),
        (MemoryError(), "no report: MemoryError; make it with: charlm-report"),
        (KeyboardInterrupt(), "the report was left out; make it with: charlm-report"),
    ],
)
def test_a_report_that_fails_costs_nothing(
    problem: BaseException,
    words: str,
    train: Train,
    tiny_text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise problem

    monkeypatch.setattr(output, "measure", fail)
    run = tmp_path / "run"
    code, lines = train(tiny_text, "--out", run, *FAST)
    assert code == 0
    assert words in lines[-2]
    assert Checkpoint.load(run).progress.finished
    said = train("--resume", "--out", run)[1][-1]
    assert said.endswith(f"it has no report: make one with: charlm-report {run}")
    assert not set(files.ALL) & {path.name for path in run.iterdir()}


def test_a_run_that_is_stopped_has_no_report(
    train: Train, tiny_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from charlm.train.progress import Display

    monkeypatch.setattr(Display, "must_stop", lambda _: True)
    code, lines = train(tiny_text, "--out", tmp_path / "run", *FAST)
    assert code == 128
    assert not any("report" in line for line in lines)
