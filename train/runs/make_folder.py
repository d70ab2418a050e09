"""Making a run folder, and what must not be lost by it."""

import errno
import json
from pathlib import Path

from charlm.data.system.errors import RunError
from charlm.data.system.files import os_errors_as, remove_leftovers
from charlm.train.runs import checkpoint, run_folder
from charlm.train.runs.lock import FolderLock


def check_folder(folder: Path, overwrite: bool) -> None:
    """Whether a run folder could be made, or emptied of its run; changes nothing.

    Args:
        folder: where the run is to be.
        overwrite: throw away the run that is there.

    Raises:
        RunError: something is there that is no run, or that nobody said to throw away.
    """
    with os_errors_as(RunError, f"can't make the run folder {folder}"):
        if folder.exists() and not folder.is_dir():
            raise OSError(errno.ENOTDIR, "a file of this name is in the way")
        for name in (checkpoint.FILE, *run_folder.DERIVED):
            if (folder / name).is_dir():
                raise RunError(f"{folder / name}: a folder is where a file should be: move it away")
        refuse_imported(folder, overwrite)
        holds_a_run = checkpoint.exists(folder) or is_imported(folder)
        if holds_a_run and not overwrite:
            raise RunError(
                f"{folder} holds a run already: throw it away with --overwrite, "
                "or name another folder with --out"
            )
        if overwrite and not holds_a_run and folder.is_dir() and any(_visible(folder)):
            raise RunError(
                f"{folder} is not a run folder: --overwrite throws away only runs; "
                "name another folder with --out"
            )
        in_the_way = [name for name in run_folder.DERIVED if (folder / name).exists()]
        if in_the_way and not holds_a_run:
            raise RunError(
                f"{folder} holds {', '.join(in_the_way)} but no training state: "
                "move that away, or name another folder with --out"
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


def refuse_imported(folder: Path, overwrite: bool) -> None:
    """A model that was imported has no training state that could be gone on with.

    Raises:
        RunError: `folder` holds one, and it is not to be overwritten.
    """
    if is_imported(folder) and not overwrite:
        raise RunError(
            f"{folder} holds an imported model, which has no training state to resume: fine-tune "
            f"it with charlm-train TEXT --init-from {folder} --out ANOTHER, throw it away with "
            "--overwrite, or name another folder with --out"
        )


def is_imported(folder: Path) -> bool:
    """Whether `folder` holds a run that `charlm-import` wrote, and no training since."""
    if checkpoint.exists(folder):
        return False
    try:
        config = json.loads((folder / run_folder.CONFIG).read_text(encoding="utf-8"))
        return bool(config["training"]["source"] == "keras")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]
