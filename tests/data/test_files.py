import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from charlm.data.system.errors import CorpusError
from charlm.data.system.files import (
    atomic_writer,
    os_errors_as,
    remove_leftovers,
    rename,
    write_bytes,
    write_text,
)

posix = pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX systems")


@pytest.fixture
def umask() -> Iterator[int]:
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_writer(path) as file:
        file.write(b"new")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_content_and_no_temporary(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def fail() -> None:
        with atomic_writer(path) as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_an_error_before_the_first_content_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_writer(tmp_path / "file"):
        raise RuntimeError
    assert names(tmp_path) == []


def test_a_failed_rename_leaves_no_temporary(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_bytes(tmp_path / "folder", b"new")
    assert names(tmp_path) == ["folder"]


def test_the_bytes_are_on_the_disk_before_the_file_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    sizes_before_the_name = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        if not path.exists():
            sizes_before_the_name.append(os.fstat(descriptor).st_size)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write_bytes(path, b"new")
    assert sizes_before_the_name == [3]


def test_a_full_disk_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@posix
def test_a_folder_that_cannot_be_synced_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    write_bytes(tmp_path / "file", b"new")
    assert names(tmp_path) == ["file"]


@posix
def test_permissions_follow_the_umask(tmp_path: Path, umask: int) -> None:
    write_bytes(tmp_path / "file", b"new")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask


def test_text_is_utf_8_with_lf(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "Iä!\n")
    assert (tmp_path / "file").read_bytes() == "Iä!\n".encode()


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_bytes(tmp_path / "none" / "file", b"new")


def test_rename_replaces(tmp_path: Path) -> None:
    write_bytes(tmp_path / "temporary", b"new")
    write_bytes(tmp_path / "file", b"old")
    rename(tmp_path / "temporary", tmp_path / "file")
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"new"


def test_what_a_killed_writer_leaves_can_be_removed(tmp_path: Path) -> None:
    write_bytes(tmp_path / "file", b"old")
    code = """
import os, signal, sys
from pathlib import Path
from charlm.data.system.files import atomic_writer
with atomic_writer(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os._exit(9)
"""
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "file")], check=False)
    assert ended.returncode == 9
    assert len(names(tmp_path)) == 2
    assert (tmp_path / "file").read_bytes() == b"old"
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["file"]


def test_system_errors_become_one_line() -> None:
    with (
        pytest.raises(CorpusError, match=r"^can't read x: no space left$") as caught,
        os_errors_as(CorpusError, "can't read x"),
    ):
        raise OSError(errno.ENOSPC, "No space left")
    assert isinstance(caught.value.__cause__, OSError)


def test_system_errors_without_a_number_become_one_line_too() -> None:
    with (
        pytest.raises(CorpusError, match=r"^can't read x: no seeking here$"),
        os_errors_as(CorpusError, "can't read x"),
    ):
        raise OSError("No seeking here")


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), os_errors_as(CorpusError, "can't read x"):
        raise KeyError
