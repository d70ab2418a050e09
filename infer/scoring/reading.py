"""Text files that are to be scored, read in chunks, and the bar that says how far that is."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.data.system import console
from charlm.data.system.errors import CorpusError
from charlm.data.system.files import os_errors_as
from charlm.data.text.corpus import read_text

if TYPE_CHECKING:
    from rich.progress import Progress

STANDARD_INPUT = Path("-")
WORTH_A_BAR = 1 << 18  # bytes: fewer are scored before one could read it
CHUNK_BYTES = 1 << 16  # of each file: hundreds are read side by side

Advance = Callable[[int], object]  # takes how many bytes were done


def read_file(path: Path, encoding: str, advance: Advance) -> Iterator[str]:
    """The chunks of a text file, which is opened now; `-` is standard input.

    Args:
        advance: is told how many bytes the text that was asked for last had.

    Raises:
        CorpusError: the file can't be read, or not in that encoding.
    """
    if path == STANDARD_INPUT:
        yield from read_text(
            console.standard_input(), encoding, "standard input", chunk_bytes=CHUNK_BYTES
        )
        return
    with os_errors_as(CorpusError, f"can't read {path}"), path.open("rb") as file:
        done = 0
        for chunk in read_text(file, encoding, str(path), chunk_bytes=CHUNK_BYTES):
            yield chunk
            place = file.tell() if file.seekable() else done
            advance(place - done)
            done = place


class Bar:
    """Shows how many bytes are done, or nothing."""

    def __init__(self, bar: "Progress | None" = None) -> None:
        self._bar = bar

    def advance(self, done: int) -> None:
        """So many more bytes are done."""
        if self._bar:
            self._bar.advance(self._bar.task_ids[0], done)

    @contextlib.contextmanager
    def cleared(self) -> Iterator[None]:
        """Leave the line to others, who write inside the block."""
        if self._bar is None:
            yield
            return
        self._bar.stop()
        yield
        self._bar.start()


@contextlib.contextmanager
def progress_of(files: Sequence[Path]) -> Iterator[Bar]:
    """A bar over the bytes of some files, drawn if there are enough and somebody watches."""
    size = sum(map(size_of, files))
    if size < WORTH_A_BAR or not sys.stderr.isatty():
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import Progress

    name = files[0].name if len(files) == 1 else f"{len(files)} files"
    with Progress(console=Console(stderr=True), transient=True) as bar:
        bar.add_task(name, total=size)
        yield Bar(bar)


def size_of(path: Path) -> int:
    """The bytes of a file; 0 of what is none, such as a pipe, and of what can't be looked at."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # whoever reads it says what is wrong
        return 0
