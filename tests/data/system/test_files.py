"""Files and sets of files: whatever fails, and whenever, they are whole and go together."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from charlm.data.system.errors import CorpusError
from charlm.data.system.files import (
    atomic_writer,
    os_errors_as,
    remove_leftovers,
    write_bytes,
    write_set,
    write_text,
)

posix = pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX systems")
OLD = {"first": "old", "second": "old", "gone": "old"}
NEW = {"first": "new", "second": "new", "third": "new"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An older set, one of its files superseded by nothing in the new one."""
    for name, text in OLD.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def write_one(folder: Path) -> None:
    write_bytes(folder / "first", b"new")


def write_new(folder: Path) -> None:
    files = {folder / name: text.encode() for name, text in NEW.items()}
    write_set(files, [folder / "gone", folder / "never", folder / "second"])


def full_after(writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that has room for so many files."""
    sync, calls = os.fsync, iter(range(writes))

    def full(descriptor: int) -> None:
        if next(calls, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_writer(path) as file:
        file.write(b"new")
        file.flush()
        assert not path.exists()
    assert contents(tmp_path) == {"file": "new"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_content_and_no_temporary(
    folder: Path, error: type[BaseException]
) -> None:
    def fail(name: str) -> None:
        with atomic_writer(folder / name) as file:
            file.write(b"new")
            raise error

    for name in ("first", "third"):
        with pytest.raises(error):
            fail(name)
    assert contents(folder) == OLD


def test_the_bytes_are_on_the_disk_before_the_file_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sync = tmp_path / "file", os.fsync
    sizes_before_the_name = []

    def watched(descriptor: int) -> None:
        if not path.exists():
            sizes_before_the_name.append(os.fstat(descriptor).st_size)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write_bytes(path, b"new")
    assert sizes_before_the_name == [3]


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
    assert contents(tmp_path) == {"file": "new"}


@posix
def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "file", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_text_is_utf_8_with_lf(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "Iä!\n")
    assert (tmp_path / "file").read_bytes() == b"I\xc3\xa4!\n"
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "none" / "file", "new")


@posix
@pytest.mark.parametrize("name", ["n" * 255, "é" * 127])
def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path, name: str) -> None:
    write_bytes(tmp_path / name, b"new")
    assert contents(tmp_path) == {name: "new"}


def test_what_a_killed_writer_leaves_can_be_removed(folder: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from charlm.data.system.files import atomic_writer
with atomic_writer(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os._exit(9)
"""
    ended = subprocess.run([sys.executable, "-c", code, str(folder / "first")], check=False)
    assert ended.returncode == 9
    assert sorted(contents(folder).values()) == ["half", "old", "old", "old"]
    remove_leftovers(folder)
    assert contents(folder) == OLD


# Sets


@pytest.mark.parametrize(
    ("write", "writes"), [(write_one, 0), (write_new, 0), (write_new, 1), (write_new, 2)]
)
def test_a_full_disk_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None], writes: int
) -> None:
    full_after(writes, monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        write(folder)
    assert contents(folder) == OLD


@pytest.mark.parametrize("name", ["first", "gone"])
def test_a_file_that_can_not_be_renamed_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The first, which can't take its name; one of an older set, which can't be put aside."""
    replace = Path.replace

    def refuse(path: Path, target: Path) -> Path:
        if name in (target.name, path.name):
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError):
        write_new(folder)
    assert contents(folder) == OLD


def test_ctrl_c_as_a_file_is_put_aside_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def interrupted(path: Path, target: Path) -> Path:
        done = replace(path, target)
        if path.name == "gone":
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_new(folder)
    assert contents(folder) == OLD


@pytest.mark.parametrize(
    ("write", "name"), [(write_one, "first"), *((write_new, name) for name in NEW)]
)
def test_a_folder_in_the_way_changes_nothing(
    folder: Path, write: Callable[[Path], None], name: str
) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    before = {path.name for path in folder.iterdir()}
    with pytest.raises(IsADirectoryError):
        write(folder)
    assert {path.name for path in folder.iterdir()} == before
    assert (folder / "gone").read_text() == "old"


def make_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")


def make_link_to_fifo(path: Path) -> None:
    os.mkfifo(path.with_name("gone"))
    path.symlink_to("gone")


@posix
@pytest.mark.parametrize("write", [write_one, write_new])
@pytest.mark.parametrize(
    ("make", "kind"),
    [(os.mkfifo, "a FIFO"), (make_device, "a device"), (make_link_to_fifo, "a FIFO")],
)
def test_what_is_no_file_stays(
    tmp_path: Path, write: Callable[[Path], None], make: Callable[[Path], None], kind: str
) -> None:
    make(tmp_path / "first")
    before = {path.name: path.lstat() for path in tmp_path.iterdir()}
    with pytest.raises(FileExistsError, match=f"first is {kind} and no file"):
        write(tmp_path)
    assert {path.name: path.lstat() for path in tmp_path.iterdir()} == before


@posix
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("write", [write_one, write_new])
def test_a_link_is_followed(tmp_path: Path, write: Callable[[Path], None], there: bool) -> None:
    for name in ("first", "second"):
        target = tmp_path / "elsewhere" / name
        target.parent.mkdir(exist_ok=True)
        if there:
            target.write_text("old")
        (tmp_path / name).symlink_to(Path("elsewhere") / name)
    write(tmp_path)
    assert contents(tmp_path / "elsewhere")["first"] == "new"
    assert (tmp_path / "first").is_symlink()
    assert (tmp_path / "second").is_symlink()
    assert write is write_one or (tmp_path / "second").read_text() == "new"


def test_at_no_moment_do_old_and_new_stand_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a reader, or a crash, would find after each change of a name."""
    seen = []
    real = Path.replace

    def look(self: Path, target: Path) -> Path:
        done = real(self, target)
        seen.append({name: text for name, text in contents(folder).items() if name[0] != "."})
        return done

    monkeypatch.setattr(Path, "replace", look)
    write_new(folder)
    assert len(seen) == 5
    for found in seen:
        assert len(set(found.values())) == 1, found
        assert "first" in found
    assert seen[-1] == NEW


# Errors


@pytest.mark.parametrize(
    ("error", "reason"),
    [(OSError(errno.ENOSPC, "No space left"), "no space left"), (OSError("No seeking"), "no seek")],
)
def test_system_errors_become_one_line(error: OSError, reason: str) -> None:
    with pytest.raises(CorpusError) as caught, os_errors_as(CorpusError, "can't read x"):
        raise error
    assert str(caught.value).startswith(f"can't read x: {reason}")
    assert caught.value.__cause__ is error


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), os_errors_as(CorpusError, "can't read x"):
        raise KeyError
