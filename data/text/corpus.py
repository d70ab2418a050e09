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

from charlm.data.system.errors import CorpusError
from charlm.data.system.files import os_errors_as
from charlm.data.text.ids import collect
from charlm.data.text.limit import Alphabet, limit
from charlm.data.text.normalise import Normalisation
from charlm.data.text.rare import NOTHING_RARE, NOTHING_SAID, Rare, RareSettings, check_replacement
from charlm.data.text.vocabulary import Vocabulary, code_points

CHUNK_BYTES = 1 << 20
SAMPLE = Path(__file__).parents[1] / "sample.txt"
"""The corpus that ships: stories written for this project."""


@dataclass(frozen=True)
class Corpus:
    """A normalised text as token ids, with what is needed to say later what it was."""

    ids: npt.NDArray[Any]  # shape [characters], of the vocabulary's smallest integer type
    vocabulary: Vocabulary  # the distinct characters of the text, but for rare ones
    normalisation: Normalisation  # what was done to the text
    sha256: str  # of the files' bytes, one after another
    rare: Rare = NOTHING_RARE  # which characters were rare, and what became of them


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
    wanted: RareSettings = NOTHING_SAID,
    learnt: int = 90,
    *,
    alphabet: Alphabet | None = None,
    keep: Sequence[str] = (),
    scratch: Path | None = None,
) -> Corpus:
    """Read files one after another as one corpus.

    The files are read twice in chunks, once for their characters and once for their ids, so
    that memory holds the ids and little else, and not even those where they are many (see
    `ids.collect`); and once more where characters may be rare.

    Args:
        paths: the files.
        normalisation: what is done to the text first.
        encoding: of the files.
        wanted: which characters are rare, and what becomes of them.
        learnt: percent of the normalised text, from its beginning, in which they are counted.
        alphabet: what to keep to, whatever is rare in the text; None to find it.
        keep: characters that are never rare, so far as the text has them.
        scratch: where many ids are kept; None to keep them in memory.

    Raises:
        CorpusError: a file can't be read, is a pipe, is binary, is not in `encoding`, or
            changed between the readings; the text has fewer than two distinct characters, or
            rare ones that `wanted` has as an error, or ones that `alphabet` lacks; or there is no
            room for the ids.
        SettingsError: the replacement would not stay as it is when it is normalised.
    """
    check_replacement(wanted, normalisation)
    where = _named(paths)
    _check_files(paths)
    first, second = hashlib.sha256(), hashlib.sha256()
    counts = _count(normalisation.stream(read_files(paths, encoding, first)))
    _check_counts(counts, where)

    def count_learnt() -> npt.NDArray[np.int64]:
        chunks = normalisation.stream(read_files(paths, encoding))
        return _count(_beginning(chunks, int(counts.sum()) * learnt // 100))

    vocabulary, rare = (
        alphabet.covering(counts, where)
        if alphabet
        else limit(counts, count_learnt, wanted, where, [ord(character) for character in keep])
    )
    kept = [ord(character) for character in vocabulary.characters]
    length = int(counts[kept].sum() if rare.policy == "drop" else counts.sum())
    chunks = normalisation.stream(read_files(paths, encoding, second))
    # What is new in a file that changed since its characters were counted goes as rare ones do:
    # the digests tell.
    unknown = rare.replacement or "drop"
    parts = (vocabulary.encode(chunk, unknown) for chunk in chunks)
    ids = collect(parts, length, vocabulary.dtype, scratch)
    if first.digest() != second.digest():
        raise CorpusError(f"{where}: changed while it was read; try again")
    return Corpus(ids, vocabulary, normalisation, first.hexdigest(), rare)


def digest_files(paths: Sequence[Path]) -> str:
    """What `Corpus.sha256` is: of the files' bytes, one after another.

    Raises:
        CorpusError: a file can't be read, or is a pipe.
    """
    _check_files(paths)
    digest = hashlib.sha256()
    for path in paths:
        with os_errors_as(CorpusError, f"can't read {path}"), path.open("rb") as file:
            while block := file.read(CHUNK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def _named(paths: Sequence[Path]) -> str:
    if not paths:
        raise CorpusError("no text: name at least one file")
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _check_files(paths: Sequence[Path]) -> None:
    together = Path(" ".join(map(str, paths)))
    if len(paths) > 1 and not paths[0].exists() and together.is_file():
        raise CorpusError(f"no file {paths[0]}: a name of several words is quoted: '{together}'")
    for path in paths:
        with os_errors_as(CorpusError, f"can't read {path}"):
            if path.is_fifo() or path.is_char_device():
                raise CorpusError(
                    f"{path}: can't be read twice, as a corpus must be; save it as a file first"
                )


def _count(chunks: Iterable[str]) -> npt.NDArray[np.int64]:
    """How often every code point of Unicode occurs, shape [0x110000]."""
    counts = np.zeros(0x110000, dtype=np.int64)
    for chunk in chunks:
        if chunk:
            found = np.bincount(code_points(chunk))
            counts[: len(found)] += found
    return counts


def _beginning(chunks: Iterable[str], length: int) -> Iterator[str]:
    """The first `length` characters of a text."""
    for chunk in chunks:
        yield chunk[:length]
        length -= len(chunk)
        if length <= 0:
            return


def _check_counts(counts: npt.NDArray[np.int64], where: str) -> None:
    present = np.flatnonzero(counts)
    if len(present) < 2:
        what = f"has one distinct character, {chr(present[0])!r}" if len(present) else "is empty"
        raise CorpusError(f"{where}: the text {what}: there is nothing to predict")


def read_files(paths: Iterable[Path], encoding: str = "utf-8", digest: Any = None) -> Iterator[str]:
    """The text of `paths`, one after another, in chunks, line ends as LF (see `read_text`)."""
    for path in paths:
        with os_errors_as(CorpusError, f"can't read {path}"), path.open("rb") as file:
            yield from read_text(file, encoding, str(path), digest, CHUNK_BYTES)


def read_text(
    file: io.BufferedIOBase | Any,
    encoding: str,
    name: str,
    digest: Any = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[str]:
    """Decode a binary file in chunks: a byte-order mark goes, CRLF and CR become LF.

    Args:
        file: an open binary file.
        encoding: any encoding that Python knows.
        name: the file's name, for messages.
        digest: a hashlib object that is fed the bytes as they were read.
        chunk_bytes: how much is read at a time.

    Raises:
        CorpusError: a byte that `encoding` does not allow, with its position; or a NUL.
    """
    decoder = _decoder(encoding)
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    position = characters = 0
    while True:
        block = file.read(chunk_bytes)
        if digest is not None:
            digest.update(block)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeError as problem:
            raise CorpusError(
                f"{name}: not {encoding}: {_described(problem, position + len(block))}; "
                "convert the file or name its `encoding`"
            ) from problem
        if "\0" in text:
            raise CorpusError(
                f"{name}: binary data, not text: a NUL after {characters + text.index(chr(0)):,} "
                "characters; if it is UTF-16, name that as its `encoding`"
            )
        at_start = not characters
        position += len(block)
        characters += len(text)
        yield newlines.decode(text.removeprefix("\ufeff") if at_start else text, final=not block)
        if not block:
            return


def _described(problem: UnicodeError, end: int) -> str:
    """What could not be decoded; `end` is the position after the last byte that was tried."""
    if not isinstance(problem, UnicodeDecodeError):
        return str(problem)
    at = end - len(problem.object) + problem.start
    return f"byte 0x{problem.object[problem.start]:02x} at position {at} ({problem.reason})"


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    try:
        "".encode(encoding)  # refuses what is no encoding of text, such as hex and zip
        return codecs.getincrementaldecoder(encoding)()
    except (LookupError, ValueError) as problem:
        raise CorpusError(
            f"unknown encoding {encoding!r}; common ones are utf-8, utf-16, latin-1 and cp1252"
        ) from problem
