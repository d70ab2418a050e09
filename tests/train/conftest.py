"""Runs that tests of training may change."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def finished(tiny_run: Path, tmp_path: Path) -> Path:
    """A finished run."""
    return Path(shutil.copytree(tiny_run, tmp_path / "tiny"))


@pytest.fixture(scope="session")
def begun(tiny_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs that was stopped after 7 steps of its second. Don't change it."""
    from charlm.data.system import console
    from charlm.train import cli
    from tests.train.helpers import EPOCH, FAST, stopping_after

    folder = tmp_path_factory.mktemp("begun") / "run"
    arguments = [str(tiny_text), "--out", str(folder), *FAST, "--epochs", "3", "--no-report"]
    with stopping_after(EPOCH + 7):
        assert console.exit_code(cli.app, "charlm-train", arguments) == 128
    return folder


@pytest.fixture
def stopped(begun: Path, tmp_path: Path) -> Path:
    """The same."""
    return Path(shutil.copytree(begun, tmp_path / "run"))
