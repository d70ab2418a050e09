"""One process at a time trains into a folder, and an overwritten run stays until it is replaced."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from charlm.data.system.errors import RunError
from charlm.train.loop.display import Display
from charlm.train.runs import lock, run_folder
from charlm.train.runs.checkpoint import FILE, Checkpoint
from charlm.train.runs.lock import FolderLock
from tests.train.helpers import FAST, Train, content, refused, stopping_after

fcntl = pytest.importorskip("fcntl", reason="nothing is locked on Windows")


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
        with pytest.raises(RunError, match=f"another process, {other.pid}, trains there"):
            FolderLock().take(tmp_path)
        other.kill()
    assert (tmp_path / lock.FILE).exists(), "it was killed, and could not clean up"
    with FolderLock() as free:
        free.take(tmp_path)
        assert (tmp_path / lock.FILE).read_text() == f"{os.getpid()}\n"
    assert not (tmp_path / lock.FILE).exists()


@pytest.mark.parametrize("options", [["--resume"], ["--overwrite"]])
def test_a_run_that_is_training_is_left_alone(
    options: list[str], finished: Path, tiny_text: Path, train: Train
) -> None:
    with FolderLock() as held:
        held.take(finished)
        before = content(finished)
        line = refused(train, tiny_text, "--out", finished, *FAST[6:], *options)
        assert f"{finished}: another process, {os.getpid()}, trains there" in line
        assert content(finished) == before


def test_a_new_run_waits_for_no_other(tmp_path: Path, tiny_text: Path, train: Train) -> None:
    with FolderLock() as held:
        held.take(tmp_path)
        assert "trains there" in refused(train, tiny_text, "--out", tmp_path, *FAST)
    assert train(tiny_text, "--out", tmp_path, *FAST)[0] == 0


def test_who_looks_whether_a_folder_is_locked_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / lock.FILE).open("wb") as looking, FolderLock() as free:
        fcntl.flock(looking, fcntl.LOCK_SH)
        monkeypatch.setattr("time.sleep", lambda seconds: looking.close())
        free.take(tmp_path)
        assert (tmp_path / lock.FILE).read_text() == f"{os.getpid()}\n"


def test_a_file_system_without_locks_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*arguments: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    FolderLock().take(tmp_path)


def test_a_lock_file_that_its_holder_has_just_removed_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = fcntl.flock, list[int]()

    def late(descriptor: int, how: int) -> None:
        if not calls:
            (tmp_path / lock.FILE).unlink()
        calls.append(how)
        real(descriptor, how)

    monkeypatch.setattr("fcntl.flock", late)
    with FolderLock() as held:
        held.take(tmp_path)
        assert len(calls) == 2
        with pytest.raises(RunError, match="trains there"):
            FolderLock().take(tmp_path)


def test_a_run_that_began_and_ended_while_the_folder_was_looked_at_stays(finished: Path) -> None:
    class Late(FolderLock):
        def take(self, folder: Path) -> None:
            finished.rename(folder / "run")
            for each in (folder / "run").iterdir():
                each.rename(folder / each.name)

    folder = finished.parent / "new"
    with pytest.raises(RunError, match="holds a run already"):
        lock.open_folder(folder, False, Late())


def test_an_overwritten_run_stays_until_the_first_save(
    finished: Path, tiny_text: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(finished)

    def full(checkpoint: Checkpoint, into: Path) -> None:
        assert {name: content(finished)[name] for name in before} == before
        raise RunError("the disk is full")

    monkeypatch.setattr(Checkpoint, "save", full)
    assert train(tiny_text, "--out", finished, *FAST, "--overwrite")[0] == 2
    assert content(finished) == before
    monkeypatch.undo()
    seen: list[set[str]] = []

    def must_stop(display: Display) -> bool:
        seen.append(set(content(finished)))
        return True

    monkeypatch.setattr(Display, "must_stop", must_stop)
    assert train(tiny_text, "--out", finished, *FAST, "--overwrite")[0] == 128
    assert seen == [{FILE, lock.FILE}], "nothing of the old run stands beside the new state"
    assert not (finished / run_folder.WEIGHTS).exists()


def test_what_a_kill_left_of_an_overwritten_run_goes_when_resumed(
    finished: Path, tmp_path: Path, tiny_text: Path, train: Train
) -> None:
    """The kill came between the first save and the removal of the old run's other files."""
    with stopping_after(1):
        assert train(tiny_text, "--out", tmp_path / "new", *FAST)[0] == 128
    shutil.copy(tmp_path / "new" / FILE, finished / FILE)
    with stopping_after(1):
        assert train("--resume", "--out", finished)[0] == 128
    assert not (finished / run_folder.WEIGHTS).exists()
    assert train("--resume", "--out", finished)[0] == 0
    assert run_folder.load_run(finished).model.config.hidden == 8
