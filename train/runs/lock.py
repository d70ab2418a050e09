"""Taking a folder for a run: nothing in it is lost by that, and no other process trains there."""

import contextlib
import errno
import json
import os
import time
from pathlib import Path

from charlm.data.system.errors import RunError
from charlm.data.system.files import os_errors_as, remove_leftovers
from charlm.train.runs import LOCK, checkpoint, run_folder

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there
    fcntl = None  # type: ignore[assignment]

FILE = LOCK
TRIES, PAUSE = 5, 0.02  # seconds; `charlm runs` holds a lock for far less, to see if it is free


class FolderLock:
    """A lock on one run folder, held until the end of the `with` or of the process.

    The system lets go of the lock when the process ends, however it ends: a file that a killed
    process left is no obstacle. It holds the process's number, for the message.
    """

    def __init__(self) -> None:
        self._held: tuple[Path, int] | None = None

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, *raised: object) -> None:
        if self._held is not None:
            path, descriptor = self._held
            with contextlib.suppress(OSError):  # the folder may be gone, or closed to us
                path.unlink()
            os.close(descriptor)
            self._held = None

    def take(self, folder: Path) -> None:
        """Lock an existing folder, or go on without where its file system has no locks.

        Raises:
            RunError: another process trains there, or the folder can't be written.
        """
        if fcntl is None or self._held is not None:
            return
        path, tries = folder / FILE, 0
        while self._held is None:
            with os_errors_as(RunError, f"can't write into {folder}"):
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as problem:
                holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
                os.close(descriptor)
                tries += 1
                if tries <= TRIES:
                    time.sleep(PAUSE)
                    continue
                who = f"another process, {holder}," if holder else "another process"
                raise RunError(
                    f"{folder}: {who} trains there: wait for its end, or name another folder with "
                    "`out`"
                ) from problem
            except OSError:  # no locks on this file system
                os.close(descriptor)
                return
            if _is(path, descriptor):
                self._held = path, descriptor
            else:  # whoever held it has just removed it
                os.close(descriptor)
        with contextlib.suppress(OSError):  # a full disk must not matter to a message
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def check_folder(folder: Path, overwrite: bool) -> None:
    """Whether a run folder could be made, or emptied of its run with `overwrite`; changes nothing.

    Raises:
        RunError: something is there that is no run, or that nobody said to throw away.
    """
    with os_errors_as(RunError, f"can't make the run folder {folder}"):
        if folder.exists() and not folder.is_dir():
            raise OSError(errno.ENOTDIR, "a file of this name is in the way")
        for name in (checkpoint.FILE, *run_folder.DERIVED):
            checkpoint.refuse_folder(folder / name)
        imported = _is_imported(folder)
        holds_a_run = checkpoint.exists(folder) or imported
        if imported and not overwrite:
            raise RunError(
                f"{folder} holds an imported model, which has no training state to resume: "
                f"fine-tune it with charlm-train TEXT --init-from {folder} --out ANOTHER, throw it "
                "away with `overwrite`, or name another folder with `out`"
            )
        if holds_a_run and not overwrite:
            raise RunError(
                f"{folder} holds a run already: go on with it with charlm-train --resume, throw it "
                "away with `overwrite`, or name another folder with `out`"
            )
        there = folder.iterdir() if folder.is_dir() else ()
        if overwrite and not holds_a_run and any(not each.name.startswith(".") for each in there):
            raise RunError(
                f"{folder} is not a run folder: `overwrite` throws away only runs; "
                "name another folder with `out`"
            )
        names = (*run_folder.DERIVED, *run_folder.REPORTS)
        in_the_way = [name for name in names if (folder / name).exists()]
        if in_the_way and not holds_a_run:
            raise RunError(
                f"{folder} holds {', '.join(in_the_way)} but no training state: "
                "move that away, or name another folder with `out`"
            )


def open_folder(folder: Path, overwrite: bool, lock: FolderLock | None) -> None:
    """Make a run folder ready for a new run's first files, which replace what is overwritten.

    Until then an overwritten run stays as it is.

    Raises:
        RunError: the folder can't be made, another process trains there, or see `check_folder`.
    """
    check_folder(folder, overwrite)
    with os_errors_as(RunError, f"can't make the run folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        if lock is not None:
            lock.take(folder)
            check_folder(folder, overwrite)  # until now another may have begun there
        remove_leftovers(folder)


def nearest_folder(folder: Path) -> Path:
    """The run folder, or of those above it the nearest that exists: on the same disk."""
    there = (each for each in (folder, *folder.absolute().parents) if each.is_dir())
    return next(there, Path())


def _is_imported(folder: Path) -> bool:
    """Whether `folder` holds a run that `charlm-import` wrote, and no training since."""
    if checkpoint.exists(folder):
        return False
    try:
        config = json.loads((folder / run_folder.CONFIG).read_text(encoding="utf-8"))
        return bool(config["training"]["source"] == "keras")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is(path: Path, descriptor: int) -> bool:
    """Whether the file of that name is the one that is open."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False
