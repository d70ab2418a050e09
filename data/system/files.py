"""Files written whole or not at all."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from charlm.data.system.errors import CharlmError


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` that takes its name when the block ends well.

    The bytes are flushed to the disk before the rename, so that after a crash `path` holds
    either what it held before or everything new. On any error the temporary file is removed.

    Raises:
        OSError: the folder can't be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    file = temporary.open("xb")  # an ordinary file of this user: permissions follow the umask
    try:
        with file:
            yield file
            flush_to_disk(file)
        rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def flush_to_disk(file: IO[bytes]) -> None:
    """Return when the disk holds what was written to `file`."""
    file.flush()
    os.fsync(file.fileno())


def rename(temporary: Path, path: Path) -> None:
    """Give a finished file its name, replacing what had it; a crash afterwards can't undo it."""
    temporary.replace(path)
    if os.name != "nt":
        with contextlib.suppress(OSError):  # the file is in place; not every folder can be synced
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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
