"""Reading text files with a progress bar on stderr, where there is someone to watch it."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from charlm.data.corpus import read_text
from charlm.data.errors import CorpusError
from charlm.data.files import os_errors_as

STANDARD_INPUT = Path("-")
WORTH_A_BAR = 1 << 18  # bytes: fewer are scored before one could read it
CHUNK_BYTES = 1 << 16  # of each file: hundreds are read side by side

Advance = Callable[[int], object]  # takes how many bytes were done


def read_file(path: Path, encoding: str, advance: Advance) -> Iterator[str]:
    """The chunks of a text file, which is opened now; `-` is standard input.

    Args:
        path: of the file.
        encoding: any that Python knows.
        advance: is told how many bytes the text that was asked for last had.

    Raises:
        CorpusError: the file can't be read, or not in that encoding.
    """
    if path == STANDARD_INPUT:
        yield from read_text(sys.stdin.buffer, encoding, "standard input", chunk_bytes=CHUNK_BYTES)
        return
    with os_errors_as(CorpusError, f"can't read {path}"), path.open("rb") as file:
        done = 0
        for chunk in read_text(file, encoding, str(path), chunk_bytes=CHUNK_BYTES):
            yield chunk
            place = file.tell() if file.seekable() else done
            advance(place - done)
            done = place


@contextlib.contextmanager
def progress_of(files: Sequence[Path]) -> Iterator[Advance]:
    """What to tell of the bytes that are done; a bar shows them, if there are enough."""
    size = sum(map(_size, files))
    if size < WORTH_A_BAR or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    name = files[0].name if len(files) == 1 else f"{len(files)} files"
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=size)
        yield lambda done: bar.advance(task, done)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # whoever reads it says what is wrong
        return 0
