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
from charlm.data.text.corpus import read_corpus, read_files, read_text, split
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


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "CHUNK_BYTES", 4)


def text_of(path: Path, encoding: str = "utf-8", normalisation: Normalisation = KEEP) -> str:
    found = read_corpus([path], normalisation, encoding)
    return found.vocabulary.decode(found.ids)


def error_of(path: Path, encoding: str = "utf-8") -> str:
    with pytest.raises(CorpusError) as caught:
        read_corpus([path], KEEP, encoding)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Reading


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
    paths = [write(b"\xef\xbb\xbfone\r\n", "b"), write(b"", "c"), write(b"\xef\xbb\xbftwo", "a")]
    found = read_corpus(paths, KEEP)
    assert found.vocabulary.decode(found.ids) == "one\ntwo"
    joined = b"".join(path.read_bytes() for path in paths)
    assert found.sha256 == hashlib.sha256(joined).hexdigest()


def test_an_accent_at_the_start_of_the_next_file_composes(write: Write) -> None:
    paths = [write(b"cafe", "a"), write("\u0301 au lait".encode(), "b")]
    found = read_corpus(paths, Normalisation())
    assert found.vocabulary.decode(found.ids) == "café au lait"


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("lead", range(5))
def test_line_ends_across_chunks_become_lf(write: Write, lead: int) -> None:
    text = "x" * lead + "a\r\nb\rc\n\r\nd\r"
    assert text_of(write(text.encode())) == "x" * lead + "a\nb\nc\n\nd\n"


@pytest.mark.usefixtures("small_chunks")
def test_a_byte_order_mark_goes_only_at_the_start(write: Write) -> None:
    assert text_of(write("\ufeffa\ufeffbc".encode())) == "a\ufeffbc"


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030"]
)
def test_other_encodings_across_chunks(write: Write, encoding: str) -> None:
    text = "Iä — 漢字 𐍈𐍈 R'lyeh"
    assert text_of(write(text.encode(encoding)), encoding) == text


def test_latin_1(write: Write) -> None:
    assert text_of(write(b"caf\xe9 \xa3"), "latin-1") == "café £"


@given(text=st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"])))
def test_bytes_that_trickle_in_one_by_one(text: str) -> None:
    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(1)

    crlf = text.replace("\n", "\r\n").encode()
    assert "".join(read_text(Trickle(crlf), "utf-8", "name")) == text.removeprefix("\ufeff")


def test_ids_take_the_smallest_type(write: Write) -> None:
    text = "".join(chr(0x4E00 + i) for i in range(300))
    assert read_corpus([write(text.encode())], KEEP).ids.dtype == np.uint16


# What is no text


@pytest.mark.parametrize("position", [0, 5, corpus.CHUNK_BYTES - 1, 2 * corpus.CHUNK_BYTES + 3])
def test_a_wrong_byte_is_named_with_its_position(write: Write, position: int) -> None:
    message = error_of(write(b"a" * position + b"\xe9bc d"))
    assert "text.txt: not utf-8: byte 0xe9 at position " + f"{position} (" in message
    assert "--encoding" in message


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("lead", range(9))
@pytest.mark.parametrize(
    ("encoding", "good", "bad"),
    [
        ("utf-8", "é漢𐍈".encode(), b"\xe6\xbc!"),
        ("utf-8", "é漢𐍈".encode(), b"\xf0\x90\x8d"),
        ("utf-8-sig", b"\xef\xbb\xbfab", b"\xff"),
        ("utf-16", "\ufeffé漢".encode("utf-16-le"), b"\x00\xdcaa"),
        ("gb18030", "漢字".encode("gb18030"), b"\xff"),
    ],
)
def test_the_position_holds_across_chunks(
    write: Write, encoding: str, good: bytes, bad: bytes, lead: int
) -> None:
    width = 2 if encoding == "utf-16" else 1
    before = good + ("z" * lead).encode("utf-16-le" if width == 2 else "ascii")
    message = error_of(write(before + bad), encoding)
    assert f"not {encoding}: byte 0x{bad[0]:02x} at position {len(before)} (" in message


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("lead", range(9))
@pytest.mark.parametrize(
    ("encoding", "start"),
    [("utf-8", "é漢"), ("utf-8-sig", "é"), ("utf-16-be", "é"), ("cp932", "漢")],
)
def test_a_nul_is_named_with_its_position(
    write: Write, encoding: str, start: str, lead: int
) -> None:
    before = (start + "z" * lead).encode(encoding)
    nul = "\0".encode("utf-16-be" if encoding == "utf-16-be" else "ascii")
    message = error_of(write(before + nul + b"after"), encoding)
    assert f"binary data, not text: a NUL at byte position {len(before) + len(nul) - 1}" in message


def test_binary_data_is_refused(write: Write) -> None:
    assert "text.txt: not utf-8: byte 0x89 at position 0" in error_of(write(b"\x89PNG\r\n\x1a\n\0"))


def test_utf_16_without_its_mark(write: Write) -> None:
    message = error_of(write("no mark".encode("utf-16-le")), "utf-16")
    assert "text.txt: not utf-16" in message


@pytest.mark.parametrize("encoding", ["klingon", "hex", "zip", "rot13", "undefined", "", "a\0b"])
def test_what_is_no_encoding(write: Write, encoding: str) -> None:
    assert error_of(write(b"abc"), encoding).startswith(f"unknown encoding {encoding!r}; common")


# What can't be learnt from


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
def test_an_empty_file(write: Write, content: bytes) -> None:
    assert "text.txt: the text is empty" in error_of(write(content))


def test_a_text_that_normalisation_empties(write: Write) -> None:
    with pytest.raises(CorpusError, match="the text is empty"):
        read_corpus([write(b"\n\n")], Normalisation(newlines="drop"))


def test_one_distinct_character(write: Write) -> None:
    assert "text.txt: the text has one distinct character, 'a'" in error_of(write(b"aaaa"))


def test_an_error_does_not_list_a_thousand_files(write: Write) -> None:
    with pytest.raises(CorpusError, match=r"text\.txt and 999 more: the text is empty"):
        read_corpus([write(b"")] * 1000, KEEP)


def test_no_file_at_all() -> None:
    with pytest.raises(CorpusError, match="name at least one file"):
        read_corpus([], KEEP)


# What can't be read


def test_a_missing_file(tmp_path: Path) -> None:
    assert error_of(tmp_path / "none.txt").endswith("none.txt: no such file or directory")


def test_a_folder(tmp_path: Path) -> None:
    assert error_of(tmp_path).startswith(f"can't read {tmp_path}: ")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(corpus, "read_files", lambda *_: pytest.fail("reads the pipe"))
    assert "can't be read twice" in error_of(tmp_path / "pipe")


@pytest.mark.parametrize("later", [b"abab", b"aba", b"ababab", b"abca", b"bbaa", b""])
def test_a_file_that_changes_between_the_readings(
    write: Write, monkeypatch: pytest.MonkeyPatch, later: bytes
) -> None:
    path = write(b"abba")
    count = corpus._count

    def count_then_change(chunks: object) -> object:
        counts = count(chunks)  # type: ignore[arg-type]
        path.write_bytes(later)
        return counts

    monkeypatch.setattr(corpus, "_count", count_then_change)
    assert "text.txt: changed while it was read" in error_of(path)


# Splitting


@given(length=st.integers(0, 1000))
def test_splits_are_in_order_and_whole(length: int) -> None:
    ids = np.arange(length)
    parts = split(ids)
    assert np.concatenate(parts).tolist() == ids.tolist()
    assert len(parts.train) == int(length * 0.9 + 1e-9)
    assert len(parts.test) == pytest.approx(length * 0.05, abs=1)


def test_splits_are_views_of_90_5_and_5_percent() -> None:
    ids = np.arange(1000)
    train, validation, test = split(ids)
    assert (len(train), len(validation), len(test)) == (900, 50, 50)
    assert all(part.base is ids for part in (train, validation, test))


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


def test_files_are_read_as_they_are_asked_for(write: Write, tmp_path: Path) -> None:
    chunks = read_files([write(b"there"), tmp_path / "missing"])
    assert next(chunks) == "there"
