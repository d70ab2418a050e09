"""Fixtures that every folder's tests share: a small text, a small trained run, and processes."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from charlm.data.system import console
from charlm.data.text.corpus import SAMPLE
from tests.support.forked import Forks

TINY_CHARACTERS = 6_000
# The same examples in every run, however slow the machine is.
settings.register_profile(
    "charlm",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("charlm")


@pytest.fixture(scope="session")
def prose() -> str:
    """The first characters of the corpus that ships: real prose, the same everywhere."""
    return SAMPLE.read_text(encoding="utf-8")[:TINY_CHARACTERS]


@pytest.fixture(scope="session")
def tiny_text(prose: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`prose` in a file."""
    path = tmp_path_factory.mktemp("text") / "tiny.txt"
    path.write_text(prose, encoding="utf-8", newline="\n")
    return path


@pytest.fixture(scope="session")
def tiny_run(tiny_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run: two layers of 16 units, trained for a moment. Don't change it.

    The test may copy it; Torch is imported only here, for those who ask for it.
    """
    pytest.importorskip("torch")
    from charlm.train import cli

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    arguments = [
        str(tiny_text), "--out", str(folder), "--hidden", "16", "--layers", "2", "--dropout", "0",
        "--output-dropout", "0", "--weight-decay", "0",
        "--epochs", "2", "--batch-size", "4", "--seq-len", "32", "--lr", "0.02",
        "--muon-lr", "0.02", "--threads", "1", "--device", "cpu", "--no-report",
    ]  # fmt: skip
    assert console.exit_code(cli.app, "charlm-train", arguments) == 0
    return folder


Train = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def train(capsys: pytest.CaptureFixture[str]) -> Train:
    """Runs `charlm-train` in this process: its exit code, and its lines on stderr.

    Without a report, which takes a second, unless that is asked for.
    """
    pytest.importorskip("torch")
    from charlm.train import cli

    def run(*arguments: object) -> tuple[int, list[str]]:
        capsys.readouterr()
        given = [str(argument) for argument in arguments]
        if "--report" not in given:
            given.insert(0, "--no-report")
        code = console.exit_code(cli.app, "charlm-train", given)
        shown = capsys.readouterr()
        assert shown.out == "", "stdout is for text"
        return code, shown.err.splitlines()

    return run


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Runs a command in a process of its own, without the time that importing Torch takes."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    pytest.importorskip("torch")
    made = Forks(tmp_path_factory.mktemp("forks"))
    yield made
    made.close()
