"""Runs that are killed and resumed end, bit for bit, as one that was never killed.

Processes are really killed, by `kill_driver.py`, at moments that do not depend on the clock.
"""

import os
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from charlm.data.system import console
from charlm.train import cli
from charlm.train.loop.display import Observer
from charlm.train.runs import lock, run_folder
from charlm.train.runs.checkpoint import FILE, Checkpoint
from tests.crashes.verdict import difference
from tests.support.forked import Forks

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")

SETTINGS = [
    "--layers", "2", "--hidden", "12", "--dropout", "0.3", "--batch-size", "4", "--seq-len", "60",
    "--output-dropout", "0.2", "--weight-decay", "0.1",
    "--epochs", "3", "--lr", "0.02", "--seed", "11", "--threads", "1", "--device", "cpu",
]  # fmt: skip
EPOCH = 23  # steps: a stream has 1,349 targets
SAVES_AN_EPOCH = 5  # after every fifth step, and at the end; and one at the very beginning


@pytest.fixture(scope="module")
def reference(tiny_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is never killed, and never saves but at the ends of epochs."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    arguments = [str(tiny_text), "--out", str(folder), *SETTINGS, "--no-report"]
    assert console.exit_code(cli.app, "charlm-train", arguments) == 0
    assert Checkpoint.load(folder).progress.step == 3 * EPOCH
    return folder


Drive = Callable[..., "subprocess.CompletedProcess[str]"]
Kill = Callable[..., None]


@pytest.fixture
def drive(forks: Forks) -> Drive:
    """Runs `charlm-train` until a moment, as `kill_driver.py` describes it."""
    return partial(forks, "tests.train.runs.kill_driver:main", "kill_driver.py")


@pytest.fixture
def kill(drive: Drive) -> Kill:
    """The same, for a moment that kills it."""

    def run(moment: str, *arguments: object) -> None:
        ended = drive(moment, *arguments)
        assert ended.returncode == -signal.SIGKILL, f"{moment} never came: {ended.stderr}"

    return run


def resume(folder: Path, *arguments: object) -> None:
    given = [*arguments, "--resume", "--out", folder, "--no-report"]
    assert console.exit_code(cli.app, "charlm-train", list(map(str, given))) == 0


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(".*.tmp"))


def assert_equal(folder: Path, reference: Path) -> None:
    """Weights, optimiser, schedule, random state, metrics and files are the same, bit for bit."""
    assert difference(folder, reference) is None
    assert Checkpoint.load(folder).progress.finished


@pytest.mark.parametrize(
    ("moment", "step"),
    [
        pytest.param(f"step:{EPOCH + 8}", EPOCH + 7, id="in the middle of an epoch"),
        pytest.param(f"write:{FILE}:4", 10, id="while the state is written"),
        pytest.param(f"rename:{FILE}:9", EPOCH + 7, id="before the state takes its name"),
        pytest.param(f"renamed:{FILE}:{1 + SAVES_AN_EPOCH}", EPOCH, id="before the other files"),
        pytest.param(f"write:{run_folder.CONFIG}:2", 2 * EPOCH, id="among the other files"),
        pytest.param(f"write:{run_folder.CARD}:3", 3 * EPOCH, id="when all was trained"),
    ],
)
def test_killed_and_resumed(
    moment: str, step: int, reference: Path, tiny_text: Path, tmp_path: Path, kill: Kill
) -> None:
    folder = tmp_path / "run"
    kill(moment, tiny_text, "--out", folder, *SETTINGS)
    assert bool(leftovers(folder)) == moment.startswith(("write:", "rename:"))
    assert Checkpoint.load(folder).progress.step == step
    resume(folder)
    assert_equal(folder, reference)


def test_killed_in_the_very_first_save(
    reference: Path, tiny_text: Path, tmp_path: Path, kill: Kill
) -> None:
    folder = tmp_path / "run"
    kill(f"write:{FILE}:1", tiny_text, "--out", folder, *SETTINGS)
    assert [path.suffix for path in folder.iterdir() if path.name != lock.FILE] == [".tmp"]
    resume(folder, tiny_text, *SETTINGS)  # nothing was saved, so all has to be named again
    assert_equal(folder, reference)


def test_killed_again_and_again(
    reference: Path, tiny_text: Path, tmp_path: Path, kill: Kill
) -> None:
    folder = tmp_path / "run"
    kill(f"step:{EPOCH - 1}", tiny_text, "--out", folder, *SETTINGS)
    for moment in (f"rename:{FILE}:2", "step:13", f"write:{run_folder.WEIGHTS}:2"):
        kill(moment, "--resume", "--out", folder)
    resume(folder)
    assert_equal(folder, reference)


@pytest.mark.parametrize(
    ("name", "step"),
    [("SIGINT", EPOCH + 6), ("SIGTERM", EPOCH), ("SIGHUP", 4), ("SIGTERM+SIGINT", EPOCH + 2)],
)
def test_a_signal_saves_says_how_to_go_on_and_loses_nothing(
    name: str, step: int, reference: Path, tiny_text: Path, tmp_path: Path, drive: Drive
) -> None:
    folder = tmp_path / "a run"
    ended = drive(f"{name}:{step}", tiny_text, "--out", folder, *SETTINGS)
    assert ended.returncode == 128 + signal.Signals[name.partition("+")[0]]
    assert ended.stdout == ""
    assert ended.stderr.splitlines()[-1] == (
        f"stopped and saved at step {step}; go on with: charlm-train --resume --out '{folder}'"
    )
    assert Checkpoint.load(folder).progress.step == step
    assert not leftovers(folder)
    resume(folder)
    assert_equal(folder, reference)


def test_the_same_signal_again_ends_the_process_at_once(
    reference: Path, tiny_text: Path, tmp_path: Path, drive: Drive
) -> None:
    folder = tmp_path / "run"
    ended = drive(f"SIGINT+SIGINT:{EPOCH + 2}", tiny_text, "--out", folder, *SETTINGS)
    assert ended.returncode == 130
    assert "stopped and saved" not in ended.stderr
    assert "Traceback" not in ended.stderr
    resume(folder)
    assert_equal(folder, reference)


def test_a_terminal_that_closes_is_nothing_to_a_run_that_ignores_it() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with Observer() as observer:
            signal.raise_signal(signal.SIGHUP)
            assert not observer.must_stop()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_finished_run_resumed_has_its_files_written_anew(
    reference: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / FILE).write_bytes((reference / FILE).read_bytes())
    resume(folder)
    assert "is finished already" in capfd.readouterr().err
    for name in (*run_folder.DERIVED, FILE):
        if name != run_folder.CARD:  # it bears the folder's name, here the same
            assert (folder / name).read_bytes() == (reference / name).read_bytes(), name
