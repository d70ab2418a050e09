"""Downloads from a server on loopback: whole and right, or not at all."""

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from charlm.data.system.errors import FetchError
from charlm.data.text.fetch import CHUNK_BYTES, DOWNLOADS, Download, fetch, find

if TYPE_CHECKING:
    from conftest import Server
else:
    Server = Any


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "tiny.txt"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def error_of(source: Download, to: Path, **options: Any) -> str:
    with pytest.raises(FetchError) as caught:
        fetch(source, to, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def writing(path: Path, content: bytes) -> Callable[[int], None]:
    """A watcher of progress that writes a file meanwhile."""

    def progress(_: int) -> None:
        path.write_bytes(content)

    return progress


def test_a_good_file(server: Server, tmp_path: Path) -> None:
    to = tmp_path / "a" / "b" / "tiny.txt"
    seen: list[int] = []
    assert fetch(server.source(), to, seen.append) is True
    assert to.read_bytes() == server.content
    assert names(to.parent) == ["tiny.txt"]
    assert seen == sorted(set(seen))
    assert seen[-1] == len(server.content)


def test_a_file_that_is_there_is_not_fetched_again(server: Server, to: Path) -> None:
    to.write_bytes(server.content)
    assert fetch(server.source(), to) is False
    assert server.asked == 0


def test_a_file_with_another_content_is_never_overwritten(server: Server, to: Path) -> None:
    to.write_bytes(b"my own notes")
    message = error_of(server.source(), to)
    assert "tiny.txt is there with another content than tiny" in message
    assert "`to`" in message
    assert to.read_bytes() == b"my own notes"
    assert server.asked == 0


def test_a_file_that_appears_meanwhile_is_never_overwritten(server: Server, to: Path) -> None:
    assert "another content" in error_of(server.source(), to, progress=writing(to, b"my own"))
    assert to.read_bytes() == b"my own"
    to.unlink()
    fetch(server.source(), to, writing(to, server.content))
    assert names(to.parent) == ["tiny.txt"]


def test_a_folder_is_no_file(server: Server, tmp_path: Path) -> None:
    assert "is a folder; name a file in it with `to`" in error_of(server.source(), tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="no FIFOs on Windows")
def test_a_fifo_is_not_waited_for(server: Server, to: Path) -> None:
    os.mkfifo(to)
    assert "tiny.txt is a FIFO and no file" in error_of(server.source(), to)


@pytest.mark.parametrize("says", [-1, None])
def test_another_file_is_refused(server: Server, to: Path, says: int | None) -> None:
    server.says = says
    source = server.source(server.content[::-1])
    message = error_of(source, to)
    assert "can't download tiny: what arrived has sha256" in message
    assert f"download {source.url} by other means" in message
    assert names(to.parent) == []


def test_a_file_without_end_is_not_downloaded_for_ever(server: Server, to: Path) -> None:
    source = server.source(server.content[:1000])
    server.content, server.says = b"x" * 50_000_000, None
    seen: list[int] = []
    assert "sha256" in error_of(source, to, progress=seen.append)
    assert seen[-1] <= 1000 + CHUNK_BYTES
    assert names(to.parent) == []


@pytest.mark.parametrize("says", [-1, None])
def test_a_cut_connection_leaves_nothing(server: Server, to: Path, says: int | None) -> None:
    server.says, server.sends = says, 100_000
    message = error_of(server.source(), to)
    assert "can't download tiny: 100,000 of 300,000 bytes arrived; try again" in message
    assert names(to.parent) == []
    server.sends = None
    assert fetch(server.source(), to) is True


def test_an_interruption_leaves_nothing(server: Server, to: Path) -> None:
    def interrupt(_: int) -> NoReturn:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server.source(), to, interrupt)
    assert names(to.parent) == []


@pytest.mark.parametrize("status", [404, 503])
def test_a_server_that_says_no(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    message = error_of(server.source(), tmp_path / "corpora" / "tiny.txt")
    assert f"can't download tiny: the server says {status} " in message
    assert names(tmp_path) == []


def test_a_refused_connection(to: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/tiny.txt"
        message = error_of(replace(DOWNLOADS["lovecraft"], url=url), to)
    assert "can't download lovecraft: " in message
    assert "refused" in message


def test_a_server_that_goes_silent(server: Server, to: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/tiny.txt"
        assert "timed out" in error_of(replace(server.source(), url=url), to, timeout=0.05)
    answer, server.says, server.sends = server.answer, 10**6, 100_000

    def stay(request: Any) -> None:
        answer(request)
        request.rfile.read()  # until the other side hangs up

    server.answer = stay  # type: ignore[method-assign]
    assert "timed out" in error_of(server.source(), to, timeout=0.05)
    assert names(to.parent) == []


def test_a_server_that_talks_nonsense(server: Server, to: Path) -> None:
    server.answer = lambda request: request.wfile.write(b"220 ready for mail\r\n")  # type: ignore
    assert "can't download tiny: 220 ready" in error_of(server.source(), to)


def test_a_file_in_the_way_of_the_folder(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    to = tmp_path / "file" / "tiny.txt"
    assert error_of(server.source(), to).startswith(f"can't write {to}: ")


def test_a_full_disk(server: Server, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert error_of(server.source(), to) == f"can't write {to}: no space left on device"
    assert names(to.parent) == []


def test_the_known_corpora_are_pinned() -> None:
    assert list(DOWNLOADS) == ["lovecraft", "tinyshakespeare"]
    for name, source in DOWNLOADS.items():
        assert find(name) is source
        commit = source.url.removeprefix("https://raw.githubusercontent.com/").split("/")[2]
        assert len(bytes.fromhex(commit)) == 20
        assert len(bytes.fromhex(source.sha256)) == 32
        assert source.size > 1_000_000
    with pytest.raises(FetchError, match="'poe'; there are lovecraft and tinyshakespeare"):
        find("poe")
