"""What `charlm-gen` and `charlm-score` share: options, and standard output for text alone."""

import contextlib
import io
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from charlm.data.system import console
from charlm.data.system.errors import SettingsError

if TYPE_CHECKING:
    from charlm.data.text.vocabulary import Unknown as UnknownCharacters
    from charlm.export.contract import Metadata

ModelFile = Annotated[
    Path | None,
    typer.Option(
        help="Model file, or lovecraft or lovecraft-large, which ship.",
        show_default="./model.onnx, else lovecraft",
    ),
]
Provider = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Threads = Annotated[
    int | None,
    typer.Option(help="CPU threads.", show_default="one a core for many texts, else one"),
]
Unknown = Annotated[
    str | None,
    typer.Option(
        help="Characters the model lacks: error, drop, or one to put there.",
        show_default="as with rare ones of its corpus, else error",
    ),
]
Precision = Annotated[
    str, typer.Option(help="float32; int8 on the CPU or fp16 on CUDA: faster, other texts.")
]

FLUSH_SECONDS = 0.02  # sooner than an eye notices, rarer than a system call a character


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        there = os.fstat(sys.stdin.fileno()) if path == Path("-") else path.stat()
        own = os.fstat(descriptor)
    except (OSError, ValueError, AttributeError):  # told where it is opened; no file; closed
        return False
    return stat.S_ISREG(own.st_mode) and os.path.samestat(own, there)


@contextlib.contextmanager
def text_output(*read: Path) -> Iterator[IO[str]]:
    """A text file on standard output that nobody else can write to.

    Inside the block both `sys.stdout` and the process's descriptor 1 lead to stderr, so that
    neither Python code nor a C++ library can mix its chatter into the text.

    Args:
        read: files that are read meanwhile; `-` is standard input.

    Raises:
        SettingsError: standard output is closed, or goes into one of them, which would never end.
    """
    if console.stdout_is_closed:
        raise SettingsError("standard output is closed: there is nowhere to write the text")
    try:
        descriptor = sys.stdout.fileno()
    except (io.UnsupportedOperation, AttributeError):  # stdout was replaced by a Python object
        yield sys.stdout
        return
    for path in read:
        if _is_same(descriptor, path):
            raise SettingsError(f"standard output goes into {path}, which is read: write elsewhere")
    sys.stdout.flush()
    kept = os.dup(descriptor)
    os.dup2(sys.stderr.fileno(), descriptor)
    encoding, errors = sys.stdout.encoding, sys.stdout.errors
    text = console.Output(
        os.fdopen(os.dup(kept), "wb"), encoding, errors, "", line_buffering=os.isatty(kept)
    )
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


def say_lacking(
    count: int, metadata: "Metadata", asked: "UnknownCharacters | None", whose: str
) -> None:
    """Tell the user of so many characters that a model lacks, where those are no error.

    Args:
        asked: what the user wanted to become of them.
        whose: they are, as "the prompt's".
    """
    if not count:
        return
    from charlm.data.text.rare import named

    unknown = metadata.unknown(asked)
    fate = "left out" if unknown == "drop" else f"read as {named(unknown)}"
    why = "" if asked is not None else ", as rare ones of its corpus were"
    one = count == 1
    console.say(
        f"charlm-gen: {count:,} of {whose} characters {'is' if one else 'are'} not among the "
        f"model's {len(metadata.vocabulary):,} and {'was' if one else 'were'} {fate}{why}"
    )


def _close(text: IO[str]) -> None:
    """Close without a second error where the reader is gone or the disk is full."""
    with contextlib.suppress(OSError):
        text.close()
