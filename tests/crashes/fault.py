"""What strikes a training process: a kill at a moment or in a save, a full disk, a closed folder.

A file operation is what changes the disk: a file opened for writing, a write, a flush to the disk,
a rename, a removal, a new folder. The process that is to be struck counts its own.
"""

import errno
import io
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["kill", "kill in a file operation", "full disk", "unwritable folder"]
Phase = Literal["before", "halfway", "after"]
NAMES_CHANGED = frozenset({"open", "rename", "remove", "make folder"})


@dataclass(frozen=True)
class Fault:
    """One strike.

    Attributes:
        kind: "kill" comes from outside, after `seconds`; the others at file operation `operation`.
            A disk that is full stays so, and so does a folder that can't be written.
        operation: counted from 1.
        phase: when in the operation a kill comes; halfway a write has written half.
    """

    kind: Kind
    seconds: float = 0.0
    operation: int = 0
    phase: Phase = "before"


class Operations:
    """Counts this process's file operations, and strikes at one of them.

    Args:
        fault: None to count only.
    """

    def __init__(self, fault: Fault | None) -> None:
        self.fault = fault if fault is None or fault.operation else None
        self.count = 0

    def install(self) -> None:
        """Take the place of the calls that change the disk, for the rest of the process."""
        opened: Any = Path.open

        def open_file(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if not set(mode) & set("wxa+") or "b" not in mode:
                return opened(path, mode, *arguments, **options)
            return self.perform("open", lambda: _Buffered(_File(path, mode, self)))

        Path.open = open_file  # type: ignore[method-assign, assignment]
        for name, what in (
            ("fsync", "flush"),
            ("replace", "rename"),
            ("rename", "rename"),
            ("unlink", "remove"),
            ("rmdir", "remove"),
            ("mkdir", "make folder"),
        ):
            setattr(os, name, self._counted(getattr(os, name), what))

    def perform(
        self, what: str, act: Callable[[], Any], half: Callable[[], object] | None = None
    ) -> Any:
        """Do one operation, or what becomes of it when it is struck."""
        self.count += 1
        fault = self.fault
        if fault is None or self.count < fault.operation:
            return act()
        if fault.kind == "full disk" and what != "remove":
            if half is not None:
                half()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if fault.kind == "unwritable folder" and what in NAMES_CHANGED:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if fault.kind != "kill in a file operation":
            return act()
        if fault.phase == "halfway" and half is not None:
            half()
        elif fault.phase != "before":
            act()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    def _counted(self, ordinary: Callable[..., Any], what: str) -> Callable[..., Any]:
        return lambda *given, **named: self.perform(what, lambda: ordinary(*given, **named))


class _File(io.FileIO):
    def __init__(self, path: Path, mode: str, operations: Operations) -> None:
        super().__init__(path, mode)
        self.operations = operations

    def write(self, content: Any) -> int:
        half = memoryview(content)[: len(content) // 2]
        ordinary = super().write
        written: int = self.operations.perform(
            "write", lambda: ordinary(content), lambda: ordinary(half)
        )
        return written


class _Buffered(io.BufferedWriter):
    """As `open` gives it, over a file that may be struck."""
