"""Files that belong together: no reader ever finds one of a new set beside one of an old."""

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from charlm.data.system.files import flush_to_disk, rename


def write_set(contents: Mapping[Path, bytes], superseded: Iterable[Path] = ()) -> None:
    """Write files that describe one thing, all in one folder.

    All are on the disk under temporary names before any takes its name. What the new set
    replaces, but for the first file, is put aside before the first takes its name, and removed
    after the last has; on an error it is put back. So after a crash at any moment the first file
    stands beside others of its own set, or beside fewer than it had.

    Args:
        contents: the first is the file that the others only go with.
        superseded: further files that the new set makes wrong, whether they exist or not.

    Raises:
        OSError: the folder can't be written, the disk is full, or a folder has a file's name.
    """
    first, *others = contents
    for path in contents:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    with contextlib.ExitStack() as stack:
        waiting = {path: stack.enter_context(_temporary(path)) for path in contents}
        for path, content in contents.items():
            with waiting[path].open("xb") as file:
                file.write(content)
                flush_to_disk(file)
        with _put_aside([*others, *superseded]):
            rename(waiting[first], first)
        for path in others:
            rename(waiting[path], path)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A name beside `path` for a file that is gone when the block ends, unless renamed."""
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
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
            for path in dict.fromkeys(paths):
                temporary = stack.enter_context(_temporary(path))
                with contextlib.suppress(FileNotFoundError):
                    path.replace(temporary)
                    aside[path] = temporary
            yield
        except BaseException:
            for path, temporary in aside.items():
                temporary.replace(path)
            raise
