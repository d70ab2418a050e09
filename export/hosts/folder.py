"""A folder that a host is to load: what stands there already is not lost."""

from collections.abc import Iterable
from pathlib import Path

from charlm.data.system.errors import ExportError
from charlm.data.system.files import os_errors_as


def check_free(folder: Path, files: Iterable[Path], marks: Iterable[Path]) -> None:
    """See that a folder is not there, is empty, or holds an earlier export and nothing else.

    Args:
        folder: to be written.
        files: that will stand there, by their paths in it.
        marks: those by which an earlier export is known, all of which are there.

    Raises:
        ExportError: it holds other things, or can't be read.
    """
    with os_errors_as(ExportError, f"can't write {folder}"):
        if not folder.exists():
            return
        own = {folder / parent for name in files for parent in (name, *name.parents)}
        if not all((folder / mark).is_file() for mark in marks):
            own = {each for each in own if each.is_dir()}
        inside = {each for each in own if each.is_dir()}
        standing = [path for each in sorted(inside | {folder}) for path in each.iterdir()]
    if other := next((path for path in standing if path not in own), None):
        raise ExportError(f"{folder} holds other things, such as {other.name}: name a new one")
