"""Standard output for text alone: whatever libraries print goes to stderr meanwhile."""

import contextlib
import io
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import IO

from charlm.data.system import console
from charlm.data.system.errors import SettingsError

FLUSH_SECONDS = 0.02  # sooner than an eye notices, rarer than a system call a character


@contextlib.contextmanager
def text_output() -> Iterator[IO[str]]:
    """A text file on standard output that nobody else can write to.

    Inside the block both `sys.stdout` and the process's descriptor 1 lead to stderr, so that
    neither Python code nor a C++ library can mix its chatter into the text.

    Raises:
        SettingsError: standard output is closed.
    """
    if console.stdout_is_closed:
        raise SettingsError("standard output is closed: there is nowhere to write the text")
    try:
        descriptor = sys.stdout.fileno()
    except (io.UnsupportedOperation, AttributeError):  # stdout was replaced by a Python object
        yield sys.stdout
        return
    sys.stdout.flush()
    kept = os.dup(descriptor)
    os.dup2(sys.stderr.fileno(), descriptor)
    encoding, errors = sys.stdout.encoding, sys.stdout.errors
    text = os.fdopen(os.dup(kept), "w", encoding=encoding, errors=errors, newline="")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield text
            text.flush()
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        _close(text)


def write_live(out: IO[str], pieces: Iterable[str]) -> None:
    """Write pieces of text as they come, seen within a fiftieth of a second, and a line end."""
    write, now = out.write, time.perf_counter
    flushed = now()
    try:
        for piece in pieces:
            write(piece)
            if now() - flushed > FLUSH_SECONDS:
                out.flush()
                flushed = now()
    finally:
        write("\n")
        out.flush()


def _close(text: IO[str]) -> None:
    """Close without a second error where the reader is gone or the disk is full."""
    with contextlib.suppress(OSError):
        text.close()
