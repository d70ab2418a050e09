"""Downloading the public corpora that charlm knows: whole and right, or not at all."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from charlm.data.system.errors import FetchError
from charlm.data.system.files import atomic_writer, os_errors_as, target_of

CHUNK_BYTES = 1 << 16
TIMEOUT = 30.0  # seconds without a byte


@dataclass(frozen=True)
class Download:
    """A corpus that can be downloaded, pinned to one content."""

    name: str
    url: str
    sha256: str
    size: int  # bytes
    about: str


DOWNLOADS = {
    source.name: source
    for source in (
        Download(
            name="lovecraft",
            url="https://raw.githubusercontent.com/christopheberle/LSTM-text-generation/"
            "596e81d16eef5ddf2d46c7155a8b5d92fe9fb9eb/data/lovecraft.txt",
            sha256="ea7dec19c8067fb215d12211e8b717bbae350053d8594c38086146914260106e",
            size=2_891_036,
            about="the stories of H. P. Lovecraft",
        ),
        Download(
            name="tinyshakespeare",
            url="https://raw.githubusercontent.com/karpathy/char-rnn/"
            "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
            sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            size=1_115_394,
            about="scenes from Shakespeare's plays",
        ),
    )
}


def find(name: str) -> Download:
    """The source of that name.

    Raises:
        FetchError: there is none.
    """
    if name not in DOWNLOADS:
        if name == "sample":
            raise FetchError("the sample ships with charlm: charlm-train alone trains on it")
        raise FetchError(f"no corpus {name!r}; there are {' and '.join(DOWNLOADS)}")
    return DOWNLOADS[name]


def default_path(source: Download) -> Path:
    """Where a corpus goes if nothing else is said."""
    return Path("corpora") / f"{source.name}.txt"


def fetch(
    source: Download,
    to: Path,
    progress: Callable[[int], None] = lambda _: None,
    timeout: float = TIMEOUT,
) -> bool:
    """Download `source` to the file `to`; a folder that is missing is made.

    Args:
        source: what to download.
        to: the file to write. If it is there with the right content, nothing is done.
        progress: called with the number of bytes that have arrived so far.
        timeout: seconds without a byte after which the connection counts as cut.

    Returns:
        True if the file was downloaded, False if it was there already.

    Raises:
        FetchError: the server can't be reached or has other content, the connection was cut, or
            `to` has other content or can't be written.
    """
    if _is_there(source, to):
        return False
    with os_errors_as(FetchError, f"can't write {to}"), _answer(source, timeout) as answer:
        to.parent.mkdir(parents=True, exist_ok=True)
        with atomic_writer(to) as file:
            _copy(source, answer, file, progress)
            _is_there(source, to)  # an error if another file took the name meanwhile
    return True


def _is_there(source: Download, to: Path) -> bool:
    with os_errors_as(FetchError, f"can't read {to}"):
        if to.is_dir():
            raise FetchError(f"{to} is a folder; name a file in it with `to`")
        if not target_of(to).exists():  # of no file, reading might never end
            return False
        with to.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == source.sha256:
                return True
    raise FetchError(
        f"{to} is there with another content than {source.name}, and is left as it is; "
        "move it away, or name another file with `to`"
    )


def _answer(source: Download, timeout: float) -> Any:
    from urllib.request import Request, urlopen

    headers = {"User-Agent": "charlm", "Accept-Encoding": "identity"}
    with _network_errors(source):
        return urlopen(Request(source.url, headers=headers), timeout=timeout)


def _copy(source: Download, answer: Any, file: IO[bytes], progress: Callable[[int], None]) -> None:
    """Write what a server sends, at most a block more than expected, and check it."""
    digest, size = hashlib.sha256(), 0
    while size <= source.size:
        with _network_errors(source):
            block = answer.read1(CHUNK_BYTES)
        if not block:
            break
        file.write(block)
        digest.update(block)
        size += len(block)
        progress(size)
    if size < source.size:
        raise _failure(source, f"{size:,} of {source.size:,} bytes arrived")
    if digest.hexdigest() != source.sha256:
        raise _failure(source, f"what arrived has sha256 {digest.hexdigest()[:12]}…, another one")


@contextlib.contextmanager
def _network_errors(source: Download) -> Iterator[None]:
    from http.client import HTTPException
    from urllib.error import HTTPError

    try:
        yield
    except HTTPError as problem:
        problem.close()
        raise _failure(source, f"the server says {problem.code} {problem.reason}") from problem
    except (OSError, HTTPException) as problem:
        reason = getattr(problem, "reason", problem)  # urllib wraps some errors, and not others
        said = " ".join(str(reason).split())  # where it quotes an answer, line ends too
        raise _failure(source, said or type(reason).__name__) from problem


def _failure(source: Download, reason: str) -> FetchError:
    return FetchError(
        f"can't download {source.name}: {reason}; try again, or download {source.url} "
        "by other means and give that file to charlm-train"
    )
