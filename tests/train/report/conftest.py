"""A run with its report, and evidence to change."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from charlm.data.system import console
from charlm.train.report import cli
from charlm.train.report.measure import Evidence
from charlm.train.report.output import ReportRequest, WrittenReport, make_report
from charlm.train.report.subject import Subject, read_subject

Run = Callable[..., tuple[int, list[str]]]


@pytest.fixture(scope="session")
def subject(tiny_run: Path) -> Subject:
    return read_subject(tiny_run)


@pytest.fixture(scope="session")
def report_made(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> WrittenReport:
    folder = tmp_path_factory.mktemp("report")
    return make_report(
        ReportRequest(tiny_run, out=folder, seconds=0.1, sample=2000), lambda _: None
    )


@pytest.fixture(scope="session")
def reported(report_made: WrittenReport) -> Path:
    """A folder with the report of `tiny_run`. Don't change it."""
    return report_made.page.parent


@pytest.fixture(scope="session")
def evidence(report_made: WrittenReport) -> Evidence:
    """What was measured of `tiny_run`."""
    return report_made.evidence


@pytest.fixture
def copied_run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of `tiny_run` that a test may change."""
    return Path(shutil.copytree(tiny_run, tmp_path / "copied"))


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `charlm-report` in this process: its exit code, and its lines on stderr."""

    def run(*arguments: object) -> tuple[int, list[str]]:
        capsys.readouterr()
        code = console.exit_code(cli.app, "charlm-report", [str(given) for given in arguments])
        shown = capsys.readouterr()
        assert shown.out == "", "stdout is for text"
        return code, shown.err.splitlines()

    return run
