import errno
import os
import socket
import stat
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from http.client import HTTPResponse, IncompleteRead
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn
from urllib.error import URLError

import pytest

from charlm.data.system.errors import FetchError
from charlm.data.text import fetch as library
from charlm.data.text.fetch import SOURCES, Source, default_path, fetch, find, next_command

if TYPE_CHECKING:
    from conftest import Server
else:
    Server = Any


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "tiny.txt"


def part_of(source: Source, to: Path) -> Path:
    return to.with_name(f"tiny.txt.{source.sha256[:8]}.part")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def error_of(source: Source, to: Path, **options: Any) -> str:
    with pytest.raises(FetchError) as caught:
        fetch(source, to, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def writing(path: Path, content: bytes) -> Callable[[int], None]:
    """A watcher of progress that writes a file meanwhile."""

    def progress(_: int) -> None:
        path.write_bytes(content)

    return progress


# A server that works


def test_a_good_file(server: Server, to: Path) -> None:
    assert fetch(server.source(), to) is True
    assert to.read_bytes() == server.content
    assert names(to.parent) == ["tiny.txt"]
    assert server.asked == [None]


def test_missing_folders_are_made(server: Server, tmp_path: Path) -> None:
    fetch(server.source(), tmp_path / "a" / "b" / "tiny.txt")
    assert (tmp_path / "a" / "b" / "tiny.txt").read_bytes() == server.content


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX systems")
def test_the_file_is_an_ordinary_one(server: Server, to: Path) -> None:
    before = os.umask(0o022)
    try:
        fetch(server.source(), to)
    finally:
        os.umask(before)
    assert stat.S_IMODE(to.stat().st_mode) == 0o644


def test_progress_counts_bytes_up_to_the_size(server: Server, to: Path) -> None:
    server.cuts = [100_000]
    seen: list[int] = []
    fetch(server.source(), to, seen.append)
    assert seen == sorted(set(seen))
    assert 0 < seen[0] <= 100_000
    assert seen[-1] == len(server.content)


def test_a_file_that_is_there_is_not_fetched_again(server: Server, to: Path) -> None:
    to.write_bytes(server.content)
    assert fetch(server.source(), to) is False
    assert server.asked == []


def test_a_file_with_another_content_is_never_overwritten(server: Server, to: Path) -> None:
    to.write_bytes(b"my own notes")
    message = error_of(server.source(), to)
    assert "tiny.txt is there with another content than tiny" in message
    assert "--to" in message
    assert to.read_bytes() == b"my own notes"
    assert server.asked == []


def test_a_file_that_appears_meanwhile_is_never_overwritten(server: Server, to: Path) -> None:
    message = error_of(server.source(), to, progress=writing(to, b"my own"))
    assert "another content" in message
    assert to.read_bytes() == b"my own"


def test_the_same_file_that_appears_meanwhile_is_kept(server: Server, to: Path) -> None:
    fetch(server.source(), to, writing(to, server.content))
    assert to.read_bytes() == server.content
    assert names(to.parent) == ["tiny.txt"]


def test_a_folder_is_no_file(server: Server, tmp_path: Path) -> None:
    assert "is a folder; name a file in it with --to" in error_of(server.source(), tmp_path)


# A server with another file


@pytest.mark.parametrize("says", [-1, None])
def test_a_wrong_hash(server: Server, to: Path, says: int | None) -> None:
    server.says = says
    source = server.source(server.content[::-1])
    message = error_of(source, to)
    assert "can't download tiny: what arrived has sha256" in message
    assert source.url in message
    assert names(to.parent) == []


def test_a_wrong_length_is_refused_before_it_is_downloaded(server: Server, to: Path) -> None:
    server.says = 10**12
    message = error_of(server.source(), to)
    assert f"the server has {10**12} bytes instead of 300000" in message
    assert names(to.parent) == []


def test_a_file_without_end_is_not_downloaded_for_ever(server: Server, to: Path) -> None:
    source = server.source(server.content[:1000])
    server.content, server.says = b"x" * 50_000_000, None
    seen: list[int] = []
    assert "sha256" in error_of(source, to, progress=seen.append)
    assert seen[-1] <= 1000 + library.CHUNK_BYTES
    assert names(to.parent) == []


# A connection that is cut


def test_a_cut_connection_is_resumed_within_the_call(server: Server, to: Path) -> None:
    server.cuts = [100_000, 50_000]
    fetch(server.source(), to)
    assert to.read_bytes() == server.content
    assert server.asked == [None, "bytes=100000-", "bytes=150000-"]
    assert names(to.parent) == ["tiny.txt"]


def test_a_cut_connection_is_resumed_by_the_next_call(server: Server, to: Path) -> None:
    server.cuts = [100_000, 1, 0]
    message = error_of(server.source(), to)
    assert "the connection was cut after 100,001 of 300,000 bytes of tiny" in message
    assert "run the command again" in message
    assert names(to.parent) == [part_of(server.source(), to).name]
    fetch(server.source(), to)
    assert server.asked[-1] == "bytes=100001-"
    assert to.read_bytes() == server.content
    assert names(to.parent) == ["tiny.txt"]


def test_a_cut_without_a_promised_length_is_noticed(server: Server, to: Path) -> None:
    server.says, server.cuts = None, [100_000]
    fetch(server.source(), to)
    assert server.asked == [None, "bytes=100000-"]
    assert to.read_bytes() == server.content


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), IncompleteRead(b"")])
def test_a_connection_that_breaks_is_resumed(
    server: Server, to: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    blocks: list[bytes] = []
    read = HTTPResponse.read1

    def break_once(response: HTTPResponse, size: int = -1) -> bytes:
        if len(blocks) == 1:
            blocks.append(b"")
            raise error
        blocks.append(read(response, size))
        return blocks[-1]

    monkeypatch.setattr(HTTPResponse, "read1", break_once)
    fetch(server.source(), to)
    assert server.asked == [None, f"bytes={len(blocks[0])}-"]
    assert to.read_bytes() == server.content


@pytest.mark.parametrize(
    ("ranges", "requests"),
    [
        ("ignore", [None, "bytes=100000-"]),
        ("refuse", [None, "bytes=100000-", None]),
        ("shift", [None, "bytes=100000-", None]),
    ],
)
def test_without_ranges_it_restarts_cleanly(
    server: Server, to: Path, ranges: str, requests: list[str | None]
) -> None:
    server.ranges, server.cuts = ranges, [100_000]
    fetch(server.source(), to)
    assert to.read_bytes() == server.content
    assert server.asked == requests


def test_a_damaged_part_is_thrown_away(server: Server, to: Path) -> None:
    part_of(server.source(), to).write_bytes(b"x" * 1000)
    assert "sha256" in error_of(server.source(), to)
    assert names(to.parent) == []
    fetch(server.source(), to)
    assert to.read_bytes() == server.content


def test_a_whole_part_needs_no_server(server: Server, to: Path) -> None:
    part_of(server.source(), to).write_bytes(server.content)
    fetch(server.source(), to)
    assert server.asked == []
    assert to.read_bytes() == server.content


def test_a_part_of_another_corpus_is_left_alone(server: Server, to: Path) -> None:
    other = part_of(server.source(b"other"), to)
    other.write_bytes(b"oth")
    fetch(server.source(), to)
    assert to.read_bytes() == server.content
    assert other.read_bytes() == b"oth"


def test_an_interruption_leaves_what_the_next_call_goes_on_with(server: Server, to: Path) -> None:
    def interrupt(_: int) -> NoReturn:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server.source(), to, interrupt)
    start = part_of(server.source(), to).stat().st_size
    fetch(server.source(), to)
    assert start > 0
    assert server.asked == [None, f"bytes={start}-"]
    assert to.read_bytes() == server.content


# No server


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_a_server_that_says_no(server: Server, to: Path, status: int) -> None:
    server.status = status
    message = error_of(server.source(), to)
    assert f"can't download tiny: the server says {status} " in message
    assert f"download {server.source().url} by other means" in message
    assert names(to.parent) == []


def test_a_refused_connection(server: Server, to: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port
        port = unused.getsockname()[1]
        source = replace(server.source(), url=f"http://127.0.0.1:{port}/tiny.txt")
        message = error_of(source, to)
    assert f"can't reach 127.0.0.1:{port}: " in message
    assert "refused" in message
    assert "by other means" in message
    assert names(to.parent) == []


def test_a_server_that_never_answers(server: Server, to: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        source = replace(server.source(), url=f"http://127.0.0.1:{port}/tiny.txt")
        assert f"can't reach 127.0.0.1:{port}: timed out" in error_of(source, to, timeout=0.05)


def test_a_server_that_talks_nonsense(server: Server, to: Path) -> None:
    server.answer = lambda request: request.wfile.write(b"220 ready for mail\r\n")  # type: ignore
    assert "can't reach 127.0.0.1" in error_of(server.source(), to)


def test_no_network(server: Server, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(_: object, timeout: float) -> NoReturn:
        assert timeout == 7
        raise URLError(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    message = error_of(SOURCES["lovecraft"], to, timeout=7)
    assert "can't reach raw.githubusercontent.com: Name or service not known" in message
    assert f"download {SOURCES['lovecraft'].url} by other means" in message


# A disk that can't be written


def test_a_file_in_the_way_of_the_folder(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    message = error_of(server.source(), tmp_path / "file" / "tiny.txt")
    assert message.startswith(f"can't write {tmp_path / 'file' / 'tiny.txt'}: ")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder(server: Server, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        message = error_of(server.source(), tmp_path / "tiny.txt")
    finally:
        tmp_path.chmod(0o700)
    assert message == f"can't write {tmp_path / 'tiny.txt'}: permission denied"


def test_a_full_disk(server: Server, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: IO[bytes]) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(library, "flush_to_disk", full)
    assert error_of(server.source(), to) == f"can't write {to}: no space left on device"
    assert not to.exists()


# What is known


def test_the_known_corpora_are_pinned() -> None:
    assert list(SOURCES) == ["lovecraft", "tinyshakespeare"]
    for name, source in SOURCES.items():
        assert find(name) is source
        assert source.name == name
        owner, _, commit, *path = source.url.removeprefix(
            "https://raw.githubusercontent.com/"
        ).split("/")
        assert not owner.startswith("https:")
        assert len(commit) == 40
        assert path
        assert len(bytes.fromhex(source.sha256)) == 32
        assert source.size > 1_000_000


def test_an_unknown_name() -> None:
    with pytest.raises(
        FetchError, match="no corpus 'poe'; there are lovecraft and tinyshakespeare"
    ):
        find("poe")


def test_where_it_goes_and_what_comes_next() -> None:
    assert default_path(SOURCES["lovecraft"]) == Path("corpora/lovecraft.txt")
    assert next_command(Path("my texts.txt")) == "charlm-train 'my texts.txt'"
