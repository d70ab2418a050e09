"""Files written as one set: whatever fails, and whenever, what stands there goes together."""

import os
from pathlib import Path

import pytest

from charlm.data.system import file_sets
from charlm.data.system.file_sets import write_set


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An older set, one of its files superseded by nothing in the new one."""
    for name in ("first", "second", "gone"):
        (tmp_path / name).write_text("old")
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


OLD = {"first": "old", "second": "old", "gone": "old"}
NEW = {"first": "new", "second": "new", "third": "new"}


def write(folder: Path) -> None:
    files = {folder / name: text.encode() for name, text in NEW.items()}
    write_set(files, [folder / "gone", folder / "never", folder / "second"])


def test_a_set_replaces_another(folder: Path) -> None:
    write(folder)
    assert contents(folder) == NEW


def test_a_set_where_there_was_none(tmp_path: Path) -> None:
    write_set({tmp_path / "first": b"new"})
    assert contents(tmp_path) == {"first": "new"}


@pytest.mark.parametrize("after", range(3))
def test_a_full_disk_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """At any of the files."""
    real, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > after:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(folder)
    assert contents(folder) == OLD


def test_a_first_file_that_can_not_take_its_name_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(temporary: Path, path: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(file_sets, "rename", refuse)
    with pytest.raises(PermissionError):
        write(folder)
    assert contents(folder) == OLD


def test_a_file_that_can_not_be_put_aside_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if self.name == "gone":
            raise PermissionError(1, "Operation not permitted")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError):
        write(folder)
    assert contents(folder) == OLD


@pytest.mark.parametrize("name", list(NEW))
def test_a_folder_in_the_way_changes_nothing(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    before = {path.name for path in folder.iterdir()}
    with pytest.raises(IsADirectoryError):
        write(folder)
    assert {path.name for path in folder.iterdir()} == before
    assert (folder / "gone").read_text() == "old"


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
    write(folder)
    assert len(seen) == 5
    for found in seen:
        assert len(set(found.values())) == 1, found
        assert "first" in found
    assert seen[-1] == NEW
