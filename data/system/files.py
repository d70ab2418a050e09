"""Files written whole or not at all: one, or several that belong together."""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from charlm.data.system.errors import CharlmError

KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}


def target_of(path: Path) -> Path:
    """The file that is written under that name: what a link leads to, which need not be there.

    Raises:
        OSError: a device, a FIFO, a socket or a folder has the name, and would be lost.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        kind = stat.S_IFMT(path.stat().st_mode)
        if kind != stat.S_IFREG:
            number = errno.EISDIR if kind == stat.S_IFDIR else errno.EEXIST
            what = f"{path.name} is {KINDS.get(kind, 'a device')} and no file: choose another name"
            raise OSError(number, what, str(path))
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` that takes its name when the block ends well.

    The bytes are flushed to the disk before the rename, so that after a crash `path` holds
    either what it held before or everything new. On any error the temporary file is removed. A link
    stays one: the file that it leads to is written.

    Raises:
        OSError: the folder can't be written, the disk is full, or see `target_of`.
    """
    target = target_of(path)
    with _temporary(target) as temporary:
        file = temporary.open("xb")  # an ordinary file: permissions follow the umask
        try:
            yield file
            with writing(path):
                _flush_to_disk(file)
        finally:
            with writing(path):  # what could not be written is tried once more
                file.close()
        _rename(temporary, target)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_writer(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8 with LF line ends."""
    write_bytes(path, text.encode())


def write_set(contents: Mapping[Path, bytes], superseded: Iterable[Path] = ()) -> None:
    """Write files that describe one thing: no reader finds one of them beside one of an older set.

    All are on the disk under temporary names before any takes its name. What the new set
    replaces, but for the first file, is put aside before the first takes its name, and removed
    after the last has; on an error it is put back. So after a crash at any moment the first file
    stands beside others of its own set, or beside fewer than it had.

    Args:
        contents: of files in one folder; the first is the one that the others only go with.
        superseded: further files that the new set makes wrong, whether they exist or not.

    Raises:
        OSError: the folder can't be written, the disk is full, or see `target_of`.
    """
    superseded = [path for path in superseded if path not in contents]  # a link to be written stays
    contents = {target_of(path): content for path, content in contents.items()}
    first, *others = contents
    with contextlib.ExitStack() as stack:
        written = {path: stack.enter_context(_temporary(path)) for path in contents}
        for path, content in contents.items():
            with written[path].open("xb") as file:
                file.write(content)
                _flush_to_disk(file)
        with _put_aside(dict.fromkeys([*others, *superseded])):
            _rename(written[first], first)
        for path in others:
            _rename(written[path], path)


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
        raise error(in_one_line(problem, doing)) from problem


def in_one_line(problem: OSError, doing: str) -> str:
    """What could not be done, and why."""
    reason = problem.strerror or str(problem)
    return f"{doing}: {reason[:1].lower()}{reason[1:]}"


@contextlib.contextmanager
def writing(what: object) -> Iterator[None]:
    """Note on an `OSError` raised in the block what could not be written."""
    try:
        yield
    except OSError as problem:
        problem.add_note(f"can't write {what}")
        raise


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A name beside `path` for a file that is gone when the block ends, unless renamed."""
    part = path.name[:32]  # of a name that may be as long as names can be
    temporary = path.with_name(f".{part}.{os.urandom(4).hex()}.tmp")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _put_aside(paths: Iterable[Path]) -> Iterator[None]:
    """Files under temporary names, which get their names back where the block fails."""
    with contextlib.ExitStack() as stack:
        aside = {}
        try:
            for path in paths:
                temporary = stack.enter_context(_temporary(path))
                aside[path] = temporary  # first: Ctrl-C may come as soon as it is renamed
                with contextlib.suppress(FileNotFoundError):
                    path.replace(temporary)
            yield
        except BaseException:
            for path, temporary in aside.items():
                with contextlib.suppress(FileNotFoundError):
                    temporary.replace(path)
            raise


def _flush_to_disk(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _rename(temporary: Path, path: Path) -> None:
    """Give a finished file its name, replacing what had it; a crash afterwards can't undo it."""
    temporary.replace(path)
    if os.name != "nt":
        with contextlib.suppress(OSError):  # the file is in place; not every folder can be synced
            descriptor = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
