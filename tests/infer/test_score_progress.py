"""Reading with a bar: what it is told, and when there is none."""

import io
import sys
from pathlib import Path

import pytest

from charlm.data.system.errors import CorpusError
from charlm.infer.scoring.score_output import CHUNK_BYTES, WORTH_A_BAR, progress_of, read_file


def test_all_bytes_are_told_once_they_are_done(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("é" * CHUNK_BYTES, encoding="utf-8")
    done: list[int] = []
    text = "".join(read_file(path, "utf-8", done.append))
    assert text == "é" * CHUNK_BYTES
    assert sum(done) == path.stat().st_size
    assert max(done) <= CHUNK_BYTES


def test_a_file_is_opened_when_it_is_asked_for(tmp_path: Path) -> None:
    chunks = read_file(tmp_path / "later.txt", "utf-8", lambda _: None)
    (tmp_path / "later.txt").write_text("now", encoding="utf-8")
    assert "".join(chunks) == "now"
    with pytest.raises(CorpusError, match="can't read"):
        next(read_file(tmp_path / "never.txt", "utf-8", lambda _: None))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_drawn_for_enough_bytes_and_someone_to_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / name for name in ("a.txt", "b.txt", "missing.txt")]
    for path in files[:2]:
        path.write_bytes(b"a" * (WORTH_A_BAR // 2))
    for stream, count, drawn in (
        (Terminal(), 3, True), (Terminal(), 1, False), (io.StringIO(), 3, False)
    ):  # fmt: skip
        monkeypatch.setattr(sys, "stderr", stream)
        with progress_of(files[:count]) as advance:
            advance(1000)
        assert bool(stream.getvalue()) == drawn
        assert ("3 files" in stream.getvalue()) == drawn
