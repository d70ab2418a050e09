"""Files written whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from charlm.data.errors import CharlmError


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` that takes its name when the block ends well.

    The bytes are flushed to the disk before the rename, so that after a crash `path` holds
    either what it held before or everything new. On any error the temporary file is removed.

    Raises:
        OSError: the folder can't be written, or the disk is full.
    """
    handle = tempfile.NamedTemporaryFile(  # noqa: SIM115 - closed below, before the rename
        dir=path.parent, prefix=f".{path.name}.", suffix=".tmp", delete=False
    )
    temporary = Path(handle.name)
    try:
        with handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        _give_ordinary_permissions(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_writer(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8 with LF line ends."""
    write_bytes(path, text.encode())


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of writers that were killed in `folder`."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def os_errors_as(error: Callable[[str], CharlmError], doing: str) -> Iterator[None]:
    """Turn an `OSError` raised in the block into `error`, in one line."""
    try:
        yield
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise error(f"{doing}: {reason[:1].lower()}{reason[1:]}") from problem


def _give_ordinary_permissions(path: Path) -> None:
    """Undo the 0600 of temporary files: the result is an ordinary file of this user."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
