"""One process at a time trains into a folder, and an overwritten run stays until it is replaced."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from charlm.data.system.errors import RunError
from charlm.train.progress import Display
from charlm.train.runs import lock, run_folder
from charlm.train.runs.checkpoint import FILE, Checkpoint
from charlm.train.runs.lock import FolderLock

Train = Callable[..., tuple[int, list[str]]]
FAST = [
    "--hidden", "8", "--epochs", "1", "--batch-size", "4", "--seq-len", "32", "--threads", "1",
    "--device", "cpu",
]  # fmt: skip
pytestmark = pytest.mark.skipif(os.name == "nt", reason="nothing is locked on Windows")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def test_a_second_process_is_refused_with_the_number_of_the_first(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from charlm.train.runs.lock import FolderLock\n"
        "FolderLock().take(Path('.')); print('taken', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"taken\n"
        with pytest.raises(RunError, match=f"another process {other.pid} trains there"):
            FolderLock().take(tmp_path)
        other.kill()
    assert (tmp_path / lock.FILE).exists(), "it was killed, and could not clean up"
    with FolderLock() as free:
        free.take(tmp_path)
        assert (tmp_path / lock.FILE).read_text() == f"{os.getpid()}\n"
    assert not (tmp_path / lock.FILE).exists()


@pytest.mark.parametrize("options", [["--resume"], ["--overwrite"]])
def test_a_run_that_is_training_is_left_alone(
    options: list[str], folder: Path, tiny_text: Path, train: Train
) -> None:
    with FolderLock() as held:
        held.take(folder)
        before = content(folder)
        code, lines = train(tiny_text, "--out", folder, *FAST[6:], *options)
        assert (code, len(lines)) == (2, 1)
        assert f"{folder}: another process {os.getpid()} trains there" in lines[0]
        assert content(folder) == before


def test_a_new_run_waits_for_no_other(tmp_path: Path, tiny_text: Path, train: Train) -> None:
    with FolderLock() as held:
        held.take(tmp_path)
        code, lines = train(tiny_text, "--out", tmp_path, *FAST)
        assert code == 2
        assert "trains there" in lines[0]
    assert train(tiny_text, "--out", tmp_path, *FAST)[0] == 0


def test_a_file_system_without_locks_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*arguments: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    FolderLock().take(tmp_path)


def test_an_overwritten_run_stays_until_the_first_save(
    folder: Path, tiny_text: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(folder)
    save = Checkpoint.save

    def full(checkpoint: Checkpoint, into: Path) -> None:
        assert {name: content(folder)[name] for name in before} == before
        raise RunError("the disk is full")

    monkeypatch.setattr(Checkpoint, "save", full)
    assert train(tiny_text, "--out", folder, *FAST, "--overwrite")[0] == 2
    assert content(folder) == before
    monkeypatch.setattr(Checkpoint, "save", save)
    seen: list[set[str]] = []

    def must_stop(display: Display) -> bool:
        seen.append(set(content(folder)))
        return True

    monkeypatch.setattr(Display, "must_stop", must_stop)
    assert train(tiny_text, "--out", folder, *FAST, "--overwrite")[0] == 128
    assert seen == [{FILE, lock.FILE}], "nothing of the old run stands beside the new state"
    assert not (folder / run_folder.WEIGHTS).exists()


def test_what_a_kill_left_of_an_overwritten_run_goes_when_resumed(
    folder: Path, tmp_path: Path, tiny_text: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kill came between the first save and the removal of the old run's other files."""
    monkeypatch.setattr(Display, "must_stop", lambda display: True)
    assert train(tiny_text, "--out", tmp_path / "new", *FAST)[0] == 128
    shutil.copy(tmp_path / "new" / FILE, folder / FILE)
    assert train("--resume", "--out", folder)[0] == 128
    assert not (folder / run_folder.WEIGHTS).exists()
    monkeypatch.undo()
    assert train("--resume", "--out", folder)[0] == 0
    assert run_folder.load_run(folder).model.config.hidden == 8
