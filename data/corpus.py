"""Reading text files of any size into token ids, and cutting them into splits."""

import codecs
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from charlm.data.errors import CorpusError
from charlm.data.files import os_errors_as
from charlm.data.normalise import Normalisation
from charlm.data.vocabulary import Vocabulary, code_points

CHUNK_BYTES = 1 << 20
SAMPLE = Path(__file__).with_name("sample.txt")
"""The corpus that ships: stories written for this project."""


@dataclass(frozen=True)
class Corpus:
    """A normalised text as token ids, with what is needed to say later what it was.

    Attributes:
        ids: token ids, shape [characters], in the vocabulary's smallest integer type.
        vocabulary: the distinct characters of the text.
        normalisation: what was done to the text.
        sha256: of the files' bytes, one after another.
    """

    ids: npt.NDArray[Any]
    vocabulary: Vocabulary
    normalisation: Normalisation
    sha256: str


class Splits(NamedTuple):
    """A corpus in order: 90 % to learn from, 5 % to choose by, 5 % to report on."""

    train: npt.NDArray[Any]
    validation: npt.NDArray[Any]
    test: npt.NDArray[Any]


def split(ids: npt.NDArray[Any]) -> Splits:
    """Views of the first 90 %, the next 5 % and the last 5 % of `ids`."""
    first, second = len(ids) * 90 // 100, len(ids) * 95 // 100
    return Splits(ids[:first], ids[first:second], ids[second:])


def read_corpus(
    paths: Sequence[Path],
    normalisation: Normalisation,
    encoding: str = "utf-8",
) -> Corpus:
    """Read files one after another as one corpus.

    The files are read twice in chunks, once for their characters and once for their ids, so
    that memory holds the ids and little else.

    Raises:
        CorpusError: a file can't be read, is binary, or is not in `encoding`; the text has
            fewer than two distinct characters.
    """
    digest = hashlib.sha256()
    counts = np.zeros(0x110000, dtype=np.int64)
    for chunk in normalisation.stream(read_files(paths, encoding, digest)):
        if chunk:
            found = np.bincount(code_points(chunk))
            counts[: len(found)] += found
    present = np.flatnonzero(counts)
    where = ", ".join(map(str, paths))
    if len(present) == 0:
        raise CorpusError(f"{where}: the text is empty; give a file with text in it")
    if len(present) == 1:
        raise CorpusError(
            f"{where}: the text has one distinct character, {chr(present[0])!r}; "
            "there is nothing to predict"
        )
    vocabulary = Vocabulary(map(chr, present))
    ids = np.empty(int(counts.sum()), dtype=vocabulary.dtype)
    filled = 0
    for chunk in normalisation.stream(read_files(paths, encoding)):
        part = vocabulary.encode(chunk)
        ids[filled : filled + len(part)] = part
        filled += len(part)
    if filled != len(ids):
        raise CorpusError(f"{where}: changed while it was read; try again")
    return Corpus(ids, vocabulary, normalisation, digest.hexdigest())


def read_files(paths: Iterable[Path], encoding: str = "utf-8", digest: Any = None) -> Iterator[str]:
    """The text of `paths`, one after another, in chunks, line ends as LF (see `read_text`)."""
    for path in paths:
        with os_errors_as(CorpusError, f"can't read {path}"), path.open("rb") as file:
            yield from read_text(file, encoding, str(path), digest)


def read_text(
    file: io.BufferedIOBase | Any, encoding: str, name: str, digest: Any = None
) -> Iterator[str]:
    """Decode a binary file in chunks: a byte-order mark goes, CRLF and CR become LF.

    Args:
        file: an open binary file.
        encoding: any encoding that Python knows.
        name: the file's name, for messages.
        digest: a hashlib object that is fed the bytes as they were read.

    Raises:
        CorpusError: a byte that `encoding` does not allow, or a NUL, with its position.
    """
    decoder = _decoder(encoding)
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    position = 0
    first = True
    while True:
        block = file.read(CHUNK_BYTES)
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as problem:
            at = position - pending + problem.start
            raise CorpusError(
                f"{name}: not {encoding}: byte 0x{problem.object[problem.start]:02x} at position "
                f"{at} ({problem.reason}); convert the file or name its --encoding"
            ) from None
        if digest is not None:
            digest.update(block)
        if "\0" in text:
            at = position - pending + len(text[: text.index("\0")].encode(encoding))
            raise CorpusError(f"{name}: binary data, not text: a NUL at byte position {at}")
        if first and text:
            text = text.removeprefix("\ufeff")
            first = False
        position += len(block)
        yield newlines.decode(text, final=not block)
        if not block:
            return


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    try:
        return codecs.getincrementaldecoder(encoding)()
    except LookupError:
        raise CorpusError(
            f"unknown encoding {encoding!r}; common ones are utf-8, utf-16, latin-1 and cp1252"
        ) from None
