"""Files of any encoding and size as one text, and that text as token ids."""

import hashlib
import io
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.data.system.errors import CorpusError
from charlm.data.text import corpus
from charlm.data.text.corpus import CHUNK_BYTES, read_corpus, read_files, read_text, split
from charlm.data.text.normalise import Normalisation
from charlm.data.text.vocabulary import Vocabulary

KEEP = Normalisation(nfc=False)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: bytes, name: str = "text.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def decoded(content: bytes, encoding: str = "utf-8", chunk_bytes: int = 4) -> str:
    return "".join(read_text(io.BytesIO(content), encoding, "t.txt", chunk_bytes=chunk_bytes))


def error_of(read: Callable[[], object]) -> str:
    with pytest.raises(CorpusError) as caught:
        read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Reading


@pytest.mark.parametrize("lead", range(5))
def test_line_ends_across_chunks_become_lf(lead: int) -> None:
    text = "x" * lead + "a\r\nb\rc\n\r\nd\r"
    assert decoded(text.encode()) == "x" * lead + "a\nb\nc\n\nd\n"


def test_a_byte_order_mark_goes_only_at_the_start() -> None:
    assert decoded("\ufeff\ufeffa\ufeffbc".encode(), chunk_bytes=3) == "\ufeffa\ufeffbc"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030"]
)
def test_other_encodings_across_chunks(encoding: str) -> None:
    text = "Iä — 漢字 𐍈𐍈 R'lyeh"
    assert decoded(text.encode(encoding), encoding) == text
    assert decoded(b"caf\xe9 \xa3", "latin-1") == "café £"


@given(text=st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"])))
def test_bytes_that_trickle_in_one_by_one(text: str) -> None:
    crlf = text.replace("\n", "\r\n").encode()
    assert decoded(crlf, chunk_bytes=1) == text.removeprefix("\ufeff")


def test_files_are_read_as_they_are_asked_for(write: Write, tmp_path: Path) -> None:
    chunks = read_files([write(b"there"), tmp_path / "missing"])
    assert next(chunks) == "there"


def test_a_corpus_is_ids_vocabulary_rules_and_hash(write: Write) -> None:
    content = "Iä! Iä!\n".encode()
    rules = Normalisation(case="lower", newlines="drop")
    found = read_corpus([write(content)], rules)
    assert found.vocabulary == Vocabulary(" !iä")
    assert found.ids.dtype == np.uint8
    assert found.ids.tolist() == [2, 3, 1, 0, 2, 3, 1]
    assert found.normalisation == rules
    assert found.sha256 == hashlib.sha256(content).hexdigest()


def test_several_files_are_one_text_in_order(write: Write) -> None:
    contents = [b"\xef\xbb\xbfcafe", b"", b"\xef\xbb\xbf\xcc\x81\r\ntwo"]
    paths = [write(content, str(place)) for place, content in enumerate(contents)]
    found = read_corpus(paths, Normalisation())
    assert found.vocabulary.decode(found.ids) == "café\ntwo", "an accent composes across files"
    assert found.sha256 == hashlib.sha256(b"".join(contents)).hexdigest()


# What is no text


@pytest.mark.parametrize("position", [0, 5, CHUNK_BYTES - 1, 2 * CHUNK_BYTES + 3])
def test_a_wrong_byte_is_named_with_its_position(write: Write, position: int) -> None:
    path = write(b"a" * position + b"\xe9bc d")
    message = error_of(lambda: read_corpus([path], KEEP))
    assert "text.txt: not utf-8: byte 0xe9 at position " + f"{position} (" in message
    assert "`encoding`" in message


@pytest.mark.parametrize("lead", range(5))
@pytest.mark.parametrize(
    ("encoding", "good", "bad"),
    [
        ("utf-8", "é漢𐍈".encode(), b"\xe6\xbc!"),
        ("utf-8", "é漢𐍈".encode(), b"\xf0\x90\x8d"),
        ("utf-8", b"", b"\x89PNG\r\n\x1a\n\0"),
        ("utf-8-sig", b"\xef\xbb\xbfab", b"\xff"),
        ("utf-16", "\ufeffé漢".encode("utf-16-le"), b"\x00\xdcaa"),
        ("gb18030", "漢字".encode("gb18030"), b"\xff"),
    ],
)
def test_the_position_holds_across_chunks(
    encoding: str, good: bytes, bad: bytes, lead: int
) -> None:
    before = good + ("z" * lead).encode("utf-16-le" if encoding == "utf-16" else "ascii")
    message = error_of(lambda: decoded(before + bad, encoding))
    assert f"t.txt: not {encoding}: byte 0x{bad[0]:02x} at position {len(before)} (" in message


@pytest.mark.parametrize("lead", range(5))
@pytest.mark.parametrize(("encoding", "start"), [("utf-8", "é漢"), ("utf-16-be", "é")])
def test_a_nul_is_no_text(encoding: str, start: str, lead: int) -> None:
    text = start + "z" * lead
    message = error_of(lambda: decoded(f"{text}\0after".encode(encoding), encoding))
    assert f"t.txt: binary data, not text: a NUL after {len(text)} characters" in message


def test_utf_16_without_its_mark() -> None:
    assert "t.txt: not utf-16" in error_of(lambda: decoded("mark".encode("utf-16-le"), "utf-16"))
    assert "UTF-16" in error_of(lambda: decoded("mark".encode("utf-16-le")))


@pytest.mark.parametrize("encoding", ["klingon", "hex", "zip", "rot13", "undefined", "", "a\0b"])
def test_what_is_no_encoding(encoding: str) -> None:
    message = error_of(lambda: decoded(b"abc", encoding))
    assert message.startswith(f"unknown encoding {encoding!r}; common")


# What can't be learnt from, or not be read


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "text.txt: the text is empty"),
        (b"\xef\xbb\xbf\n\n", "text.txt: the text is empty"),
        (b"aa\naa", "text.txt: the text has one distinct character, 'a'"),
    ],
)
def test_a_text_with_nothing_to_predict(write: Write, content: bytes, said: str) -> None:
    path = write(content)
    assert said in error_of(lambda: read_corpus([path], Normalisation(newlines="drop")))


def test_an_error_does_not_list_a_thousand_files(write: Write) -> None:
    paths = [write(b"")] * 1000
    assert "text.txt and 999 more: the text is" in error_of(lambda: read_corpus(paths, KEEP))
    assert "name at least one file" in error_of(lambda: read_corpus([], KEEP))


def test_what_can_not_be_read(tmp_path: Path) -> None:
    message = error_of(lambda: read_corpus([tmp_path / "none.txt"], KEEP))
    assert message.endswith("none.txt: no such file or directory")
    assert error_of(lambda: read_corpus([tmp_path], KEEP)).startswith(f"can't read {tmp_path}: ")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """Nobody writes into it: reading it would take for ever."""
    os.mkfifo(tmp_path / "pipe")
    assert "can't be read twice" in error_of(lambda: read_corpus([tmp_path / "pipe"], KEEP))


@pytest.mark.parametrize("later", [b"abab", b"aba", b"ababab", b"abca", b"bbaa", b""])
def test_a_file_that_changes_between_the_readings(
    write: Write, monkeypatch: pytest.MonkeyPatch, later: bytes
) -> None:
    path = write(b"abba")
    limit = corpus.limit

    def limit_then_change(*given: object) -> object:
        path.write_bytes(later)
        return limit(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(corpus, "limit", limit_then_change)
    assert "text.txt: changed while it was" in error_of(lambda: read_corpus([path], KEEP))


# Splitting


@given(length=st.integers(0, 1000))
def test_splits_are_views_of_90_5_and_5_percent_in_order(length: int) -> None:
    ids = np.arange(length)
    parts = split(ids)
    assert np.concatenate(parts).tolist() == ids.tolist()
    assert all(part.base is ids for part in parts)
    assert len(parts.train) == length * 9 // 10
    assert len(parts.test) == pytest.approx(length * 0.05, abs=1)


# Memory


def test_reading_a_large_file_holds_its_ids_and_little_else(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        for _ in range(60):
            file.write(b"That is not dead which can eternal lie, and so on. " * 19_608)
    tracemalloc.start()
    try:
        found = read_corpus([path], Normalisation(case="lower"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.ids.nbytes == path.stat().st_size
    assert peak < found.ids.nbytes * 1.5 + 40e6
