"""Downloading the public corpora that charlm knows: whole and right, or not at all.

Bytes gather in a `.part` file beside the target, named after the hash that they should have. A
connection that is cut leaves it there, and the download goes on from its end.
"""

import hashlib
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from charlm.data.system.errors import FetchError
from charlm.data.system.files import flush_to_disk, os_errors_as, rename

CHUNK_BYTES = 1 << 16
ATTEMPTS = 3  # a cut connection is taken up again so many times less one before it is an error
TIMEOUT = 30.0  # seconds without a byte


@dataclass(frozen=True)
class Source:
    """A corpus that can be downloaded, pinned to one content."""

    name: str
    url: str
    sha256: str
    size: int  # bytes
    about: str


SOURCES = {
    source.name: source
    for source in (
        Source(
            name="lovecraft",
            url="https://raw.githubusercontent.com/christopheberle/LSTM-text-generation/"
            "596e81d16eef5ddf2d46c7155a8b5d92fe9fb9eb/data/lovecraft.txt",
            sha256="ea7dec19c8067fb215d12211e8b717bbae350053d8594c38086146914260106e",
            size=2_891_036,
            about="the stories of H. P. Lovecraft",
        ),
        Source(
            name="tinyshakespeare",
            url="https://raw.githubusercontent.com/karpathy/char-rnn/"
            "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
            sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            size=1_115_394,
            about="scenes from Shakespeare's plays",
        ),
    )
}


def find(name: str) -> Source:
    """The source of that name.

    Raises:
        FetchError: there is none.
    """
    if name not in SOURCES:
        raise FetchError(f"no corpus {name!r}; there are {' and '.join(SOURCES)}")
    return SOURCES[name]


def default_path(source: Source) -> Path:
    """Where a corpus goes if nothing else is said."""
    return Path("corpora") / f"{source.name}.txt"


def next_command(path: Path) -> str:
    """What to type next with a corpus at `path`."""
    return f"charlm-train {shlex.quote(str(path))}"


def fetch(
    source: Source,
    to: Path,
    progress: Callable[[int], None] = lambda _: None,
    timeout: float = TIMEOUT,
) -> bool:
    """Download `source` to the file `to`; a folder that is missing is made.

    Args:
        source: what to download.
        to: the file to write. If it is there with the right content, nothing is done.
        progress: called with the number of bytes that are there so far.
        timeout: seconds without a byte after which the connection counts as cut.

    Returns:
        True if the file was downloaded, False if it was there already.

    Raises:
        FetchError: the server can't be reached or has other content, the connection was cut
            again and again, or `to` has other content or can't be written.
    """
    if _is_there(source, to):
        return False
    part = to.with_name(f"{to.name}.{source.sha256[:8]}.part")
    with os_errors_as(FetchError, f"can't write {to}"):
        for _ in range(ATTEMPTS):
            if _size(part) < source.size:
                _download(source, part, progress, timeout)
        _check(source, part)
        if not _is_there(source, to):  # nobody else wrote it meanwhile
            rename(part, to)
        part.unlink(missing_ok=True)
    return True


def _is_there(source: Source, to: Path) -> bool:
    with os_errors_as(FetchError, f"can't read {to}"):
        if to.is_dir():
            raise FetchError(f"{to} is a folder; name a file in it with --to")
        if not to.exists():
            return False
        if _sha256(to) == source.sha256:
            return True
    raise FetchError(
        f"{to} is there with another content than {source.name}, and is left as it is; "
        "move it away, or name another file with --to"
    )


def _download(source: Source, part: Path, progress: Callable[[int], None], timeout: float) -> None:
    """Append to `part` what is missing; it stays incomplete if the connection is cut."""
    response, start = _open(source, _size(part), timeout)
    with response:
        _check_promise(source, response, start)
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab" if start else "wb") as file:
            for size in _copy(response, file, start, source.size):
                progress(size)
            flush_to_disk(file)


def _open(source: Source, start: int, timeout: float) -> tuple[Any, int]:
    """The server's answer, and where in the file it begins: at `start`, or 0 if it can't."""
    response = _request(source, start, timeout)
    begins = _begin_of(response)
    if begins not in (0, start):
        response.close()
        return _request(source, 0, timeout), 0
    return response, begins


def _request(source: Source, start: int, timeout: float) -> Any:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    headers = {"User-Agent": "charlm", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        return urlopen(Request(source.url, headers=headers), timeout=timeout)
    except HTTPError as problem:
        problem.close()
        if start and problem.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return _request(source, 0, timeout)
        raise _failure(source, f"the server says {problem.code} {problem.reason}") from problem
    except _network_errors() as problem:
        host = urlsplit(source.url).netloc
        raise _failure(source, f"can't reach {host}: {_reason(problem)}") from problem


def _begin_of(response: Any) -> int:
    """Which byte of the file an answer begins with, -1 if that is not said."""
    if response.status != HTTPStatus.PARTIAL_CONTENT:
        return 0  # servers may ignore a range
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def _check_promise(source: Source, response: Any, start: int) -> None:
    """Refuse a file of another size before it is downloaded."""
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and start + int(length) != source.size:
        raise _failure(
            source, f"the server has {start + int(length)} bytes instead of {source.size}"
        )


def _copy(response: Any, file: IO[bytes], size: int, at_most: int) -> Iterator[int]:
    """Copy until the answer ends or is cut; yields the file's size after every block."""
    for block in _blocks(response):
        file.write(block)
        size += len(block)
        yield size
        if size > at_most:
            return


def _blocks(response: Any) -> Iterator[bytes]:
    try:
        while block := response.read1(CHUNK_BYTES):
            yield block
    except _network_errors():
        return


def _check(source: Source, part: Path) -> None:
    if (size := _size(part)) < source.size:
        raise FetchError(
            f"the connection was cut after {size:,} of {source.size:,} bytes of {source.name}; "
            "run the command again to go on from there"
        )
    if (found := _sha256(part)) != source.sha256:
        part.unlink()
        raise _failure(source, f"what arrived has sha256 {found[:12]}… and not the pinned one")


def _failure(source: Source, reason: str) -> FetchError:
    return FetchError(
        f"can't download {source.name}: {reason}; try again later, or download {source.url} "
        "by other means and give that file to charlm-train"
    )


def _network_errors() -> tuple[type[Exception], ...]:
    from http.client import HTTPException

    return OSError, HTTPException


def _reason(problem: BaseException) -> str:
    cause = getattr(problem, "reason", problem)  # urllib wraps some errors, and not others
    said = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return " ".join(said.split())  # a server that does not speak HTTP is quoted, line ends too


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
