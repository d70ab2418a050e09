"""Ids of texts that are too long for memory: the same as of any, and kept on the disk."""

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from charlm.data.system.errors import CorpusError
from charlm.data.text import corpus, ids
from charlm.data.text.corpus import digest_files, read_corpus
from charlm.data.text.normalise import Normalisation

NORMAL = Normalisation()
AWKWARD = {
    "line ends": b"one\r\ntwo\rthree\n\r\n\r\nfour\r",
    "accents": "e\u0301 a\u0308\u0304 \u1e09\u0301 and u\u0328\u0301\n".encode() * 3,
    "Hangul": "\u1112\u1161\u11ab\u1100\u1173\u11af \u1112\u1161".encode() * 3,
    "a newline before an accent": "e\n\u0301e\r\n\u0301a".encode() * 3,
    "sigma": "\u039f\u0394\u039f\u03a3 \u039f\u0394\u039f\u03a3. \u03a3\u039f\u03a3".encode() * 3,
    "long characters": "\U0001f600x\U00010348\u4e2d\u6587".encode() * 5,
    "more than a byte holds": "".join(chr(0x4E00 + n) for n in range(257)).encode(),
    "a mark": b"\xef\xbb\xbfBOM and \xef\xbb\xbf not",
}


def is_mapped(array: npt.NDArray[np.generic]) -> bool:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return not array.flags.owndata and not isinstance(array.base, bytes)


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize(
    "normalisation",
    [NORMAL, Normalisation("lower", True, "drop"), Normalisation("lower", False, "space")],
)
def test_a_mapped_text_is_the_text(
    size: int, name: str, normalisation: Normalisation, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Read a few bytes at a time and mapped, or whole and in memory."""
    path = tmp_path / "text.txt"
    path.write_bytes(AWKWARD[name])
    whole = read_corpus([path], normalisation, scratch=tmp_path)
    monkeypatch.setattr(ids, "IN_MEMORY", 0)
    monkeypatch.setattr(corpus, "CHUNK_BYTES", size)
    mapped = read_corpus([path], normalisation, scratch=tmp_path)
    assert is_mapped(mapped.ids)
    assert not is_mapped(whole.ids), "a small text stays in memory"
    assert mapped.ids.tolist() == whole.ids.tolist()
    assert mapped.ids.dtype == whole.ids.dtype == whole.vocabulary.dtype
    assert mapped.vocabulary == whole.vocabulary
    assert mapped.sha256 == whole.sha256 == digest_files([path])
    text = AWKWARD[name].decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    assert mapped.vocabulary.decode(mapped.ids) == normalisation(text)
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"], "the file has no name"


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize(
    ("length", "expected"), [(5, [1, 2, 3, 4, 5]), (4, [1, 2, 3, 4]), (7, [1, 2, 3, 4, 5, 0, 0])]
)
def test_too_much_is_left_out_and_too_little_is_filled(
    mapped: bool, length: int, expected: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that changes while it is read: the digests tell, the ids must only not crash."""
    monkeypatch.setattr(ids, "IN_MEMORY", 0 if mapped else 1000)
    parts = [np.array([1, 2, 3], np.uint16), np.array([4, 5], np.uint16)]
    assert ids.collect(parts, length, np.uint16, tmp_path).tolist() == expected


def test_ids_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "CHUNK", 7)
    found = np.random.default_rng(0).integers(5, size=100).astype(np.uint8)
    assert ids.count(found, 6).tolist() == np.bincount(found, minlength=6).tolist()
    assert np.concatenate(list(ids.chunks(found))).tolist() == found.tolist()


def test_a_disk_without_room_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ids, "IN_MEMORY", 0)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    (tmp_path / "text.txt").write_text("abba")
    with pytest.raises(CorpusError) as error:
        read_corpus([tmp_path / "text.txt"], NORMAL, scratch=tmp_path)
    assert str(error.value) == (
        f"can't keep the text's ids in {tmp_path}, 4 bytes: no space left on device"
    )
