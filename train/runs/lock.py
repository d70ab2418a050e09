"""One process at a time trains into a run folder."""

import contextlib
import os
from pathlib import Path
from types import TracebackType

from charlm.data.system.errors import RunError
from charlm.data.system.files import os_errors_as

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there
    fcntl = None  # type: ignore[assignment]

FILE = ".lock"


class FolderLock:
    """A lock on one run folder, held until the end of the `with` or of the process.

    The system lets go of the lock when the process ends, however it ends: a file that a killed
    process left is no obstacle. It holds the process's number, for the message.
    """

    def __init__(self) -> None:
        self._held: tuple[Path, int] | None = None

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._held is not None:
            path, descriptor = self._held
            with contextlib.suppress(OSError):  # the folder may be gone, or closed to us
                path.unlink()
            os.close(descriptor)
            self._held = None

    def take(self, folder: Path) -> None:
        """Lock an existing folder, or go on without where its file system has no locks.

        Raises:
            RunError: another process trains there, or the folder can't be written.
        """
        if fcntl is None or self._held is not None:
            return
        path = folder / FILE
        while self._held is None:
            with os_errors_as(RunError, f"can't write into {folder}"):
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as problem:
                holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
                os.close(descriptor)
                raise RunError(
                    f"{folder}: another process{holder and ' '}{holder} trains there: wait for its "
                    "end, or name another folder with --out"
                ) from problem
            except OSError:  # no locks on this file system
                os.close(descriptor)
                return
            if _is(path, descriptor):
                self._held = path, descriptor
            else:  # whoever held it has just removed it
                os.close(descriptor)
        with contextlib.suppress(OSError):  # a full disk must not matter to a message
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _is(path: Path, descriptor: int) -> bool:
    """Whether the file of that name is the one that is open."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False
