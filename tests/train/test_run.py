"""What stands around a training: its report, a stderr that fails, memory that is kept."""

import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from charlm.data.system.errors import SettingsError
from charlm.train import report as files
from charlm.train import train as train_texts
from charlm.train.loop.display import Display
from charlm.train.report import measure, output, pictures
from charlm.train.runs.checkpoint import Checkpoint
from charlm.train.runs.run_folder import CARD, METRICS, WEIGHTS
from tests.support.forked import LEFT, Forks
from tests.train.helpers import FAST, Train, stopping_after

REPORTED = [*FAST, "--report"]


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(measure, "LEAST_SECONDS", 0.1)
    monkeypatch.setattr(pictures, "DRAWERS", {})


def test_a_misspelt_setting_is_refused(tiny_text: Path) -> None:
    misspelt: Any = {"epoch": 1}
    with pytest.raises(SettingsError, match=r"no setting 'epoch'; there are .*epochs"):
        train_texts(tiny_text, **misspelt)


def test_a_training_that_ends_early_says_why(train: Train, tiny_text: Path, tmp_path: Path) -> None:
    steep = ["--lr", "0.5", "--muon-lr", "0.5", "--epochs", "30", "--patience", "1"]
    code, lines = train(tiny_text, "--out", tmp_path / "run", *FAST, *steep)
    assert code == 0
    said = "run: ends early: no better validation in 1 epoch (--patience)"
    assert any(line.endswith(said) for line in lines), lines
    card = (tmp_path / "run" / CARD).read_text(encoding="utf-8")
    assert "| run | finished early: no better validation in 1 epoch |" in card


@pytest.mark.usefixtures("_quick")
def test_a_training_ends_with_its_report(train: Train, tiny_text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, lines = train(tiny_text, "--out", run, *REPORTED)
    assert code == 0
    assert f"{run / 'report.html'}: " in lines[-4]
    assert lines[-3].startswith("try next: ")
    assert lines[-2].startswith("  charlm-train ")
    assert lines[-1].startswith("next: charlm-export")
    assert train("--resume", "--out", run)[1][-1].endswith("its files were written anew")
    assert set(files.ALL) <= {path.name for path in run.iterdir()}
    assert train(tiny_text, "--out", run, *FAST, "--overwrite")[0] == 0
    assert not list(run.glob("report*")), "of the run before"


@pytest.mark.usefixtures("_quick")
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
    code, lines = train(tiny_text, "--out", run, *REPORTED)
    assert code == 0
    assert words in lines[-2]
    assert Checkpoint.load(run).progress.finished
    said = train("--resume", "--out", run)[1][-1]
    assert said.endswith(f"it has no report: make one with: charlm-report {run}")
    assert not list(run.glob("report*"))


def test_a_run_that_is_stopped_has_no_report(train: Train, tiny_text: Path, tmp_path: Path) -> None:
    with stopping_after(1):
        code, lines = train(tiny_text, "--out", tmp_path / "run", *REPORTED)
    assert code == 128
    assert not any("report" in line for line in lines)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("stderr", ["/dev/full", LEFT])
def test_training_goes_on_where_stderr_fails(
    stderr: str, tiny_text: Path, tmp_path: Path, forks: Forks
) -> None:
    folder = tmp_path / "run"
    given = [tiny_text, "--out", folder, *FAST, "--no-report"]
    main = "charlm.train.cli:main"
    assert forks(main, "charlm-train", *given, stderr=stderr).returncode == 0
    assert (folder / WEIGHTS).is_file()
    assert len((folder / METRICS).read_text().splitlines()) == 1
    assert forks(main, "charlm-train", "no.txt", folder=tmp_path, stderr=stderr).returncode == 2


ALLOCATE = """
import resource
from charlm.train.run import keep_freed_memory

def faults():
    for turn in range(6):
        if turn == 3:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        b"x" * (48 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults())
assert keep_freed_memory()
print(faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_blocks_are_reused_without_page_faults() -> None:
    done = subprocess.check_output([sys.executable, "-c", ALLOCATE], text=True)
    as_ever, kept = map(int, done.split())
    assert kept < 1_000
    assert as_ever > 30_000


def test_a_sample_keeps_lines_and_indentation(tmp_path: Path) -> None:
    stream = StringIO()
    shown = Display(Console(file=stream, soft_wrap=True, markup=False), tmp_path)
    record = {"epoch": 1, "train_bits": 2, "validation_bits": 2, "characters_per_second": 9}
    shown.evaluated(record, "\nif a:\n    b = [1]\x07 \n\n\n\n\tc")
    assert stream.getvalue().splitlines()[1:] == ["  if a:", "      b = [1]", "", "      c"]
