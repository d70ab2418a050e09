"""Token ids of a whole text: in memory, or in a file that is mapped where they are many."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import CorpusError
from charlm.data.system.files import os_errors_as
from charlm.data.text.vocabulary import Vocabulary

IN_MEMORY = 64 << 20  # bytes; more are mapped from a file
CHUNK = 1 << 22  # ids that are counted or mapped at a time

Ids = npt.NDArray[Any]


def collect(parts: Iterable[Ids], length: int, dtype: npt.DTypeLike, scratch: Path | None) -> Ids:
    """Join the parts of a text's ids.

    Args:
        parts: ids of `dtype`, in order; what goes beyond `length` is left out.
        length: of the whole; where the parts are fewer, zeros follow.
        dtype: the ids' type.
        scratch: a folder on a disk with room for them; None to hold them in memory, however many.

    Returns:
        Ids, shape [length]. Over `IN_MEMORY` bytes they are read-only and mapped from a file
        without a name, which goes when the process does, however it ends: the system reads them
        from the disk when they are looked at, and may forget them again.

    Raises:
        CorpusError: the folder can't be written, or its disk is full.
    """
    if scratch is None or length * np.dtype(dtype).itemsize <= IN_MEMORY:
        return _joined(parts, length, dtype)
    doing = f"can't keep the text's ids in {scratch}, {length * np.dtype(dtype).itemsize:,} bytes"
    with os_errors_as(CorpusError, doing):
        file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - closed below
    with file:
        _write(file, parts, length, dtype, doing)
        with os_errors_as(CorpusError, doing):
            # A plain view: each slice of a `memmap` costs more than what it holds.
            return np.asarray(np.memmap(file, dtype, "r", shape=(length,)))


def count(ids: Ids, size: int) -> npt.NDArray[np.int64]:
    """How often each id below `size` occurs, shape [size], in little memory."""
    counts = np.zeros(size, dtype=np.int64)
    for part in chunks(ids):
        counts += np.bincount(part, minlength=size)
    return counts


def chunks(ids: Ids) -> Iterator[Ids]:
    """Views of `ids`, in order, of `CHUNK` at the most."""
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))


def re_encode(ids: Ids, old: Vocabulary, new: Vocabulary, scratch: Path | None = None) -> Ids:
    """Token ids of the same text by another vocabulary, which has all characters of `old`.

    Args:
        ids: by `old`, shape [characters].
        old: whose ids they are.
        new: of whose type the new ones are; the same vocabulary gives `ids` itself.
        scratch: see `collect`.
    """
    if old == new:
        return ids
    table = old.places_in(new).astype(new.dtype)
    return collect((table[part] for part in chunks(ids)), len(ids), new.dtype, scratch)


def _joined(parts: Iterable[Ids], length: int, dtype: npt.DTypeLike) -> Ids:
    ids = np.zeros(length, dtype=dtype)
    filled = 0
    for part in parts:
        kept = part[: length - filled]
        ids[filled : filled + len(kept)] = kept
        filled += len(kept)
    return ids


def _write(
    file: IO[bytes], parts: Iterable[Ids], length: int, dtype: npt.DTypeLike, doing: str
) -> None:
    filled = 0
    for part in parts:  # their own errors are not the disk's
        kept = np.ascontiguousarray(part[: length - filled], dtype=dtype)
        with os_errors_as(CorpusError, doing):
            file.write(kept.data)
        filled += len(kept)
    with os_errors_as(CorpusError, doing):
        file.truncate(length * np.dtype(dtype).itemsize)
        file.flush()
