"""Reading a text file with a progress bar on stderr, where there is someone to watch it."""

import sys
from collections.abc import Iterator
from pathlib import Path

from charlm.data.corpus import read_text
from charlm.data.errors import CorpusError
from charlm.data.files import os_errors_as

STANDARD_INPUT = Path("-")
WORTH_A_BAR = 1 << 18  # bytes: smaller files are scored before one could read it


def read_with_progress(path: Path, encoding: str) -> Iterator[str]:
    """The chunks of a text file, as `data.corpus.read_text` yields them; `-` is standard input.

    Raises:
        CorpusError: the file can't be read, or not in that encoding.
    """
    if path == STANDARD_INPUT:
        yield from read_text(sys.stdin.buffer, encoding, "standard input")
        return
    with os_errors_as(CorpusError, f"can't read {path}"), path.open("rb") as file:
        size = path.stat().st_size
        chunks = read_text(file, encoding, str(path))
        if size < WORTH_A_BAR or not sys.stderr.isatty():
            yield from chunks
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(path.name, total=size)
            for chunk in chunks:
                yield chunk
                bar.update(task, completed=file.tell())
