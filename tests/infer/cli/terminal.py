"""A pseudo-terminal: runs a command in it, types, and says what a person sees in the end."""

import contextlib
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

CONTROL = re.compile(r"\x1b\[\??([\d;]*)([A-Za-z])|\r|\n|\x08|[^\x1b\r\n\x08]+|\x1b")
# What prompt_toolkit writes as it begins to ask for a line, and once it has one.
PROMPT, ENTERED = "\x1b[?2004h", "\x1b[?2004l"
SECONDS = 20


class Terminal:
    """A command in a terminal of 100 columns.

    Args:
        module: is run as a program.
        arguments: of it.
        folder: where it runs.
    """

    def __init__(self, module: str, *arguments: str, folder: Path, **environment: str) -> None:
        import fcntl
        import struct
        import termios

        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        given = {**os.environ, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self.raw, self._seen = "", 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {module} import main; main()", *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=given | environment,
            preexec_fn=_own_terminal,
        )  # fmt: skip
        os.close(theirs)

    def wait_for(self, text: str) -> None:
        """Read on until this text has come, after what was waited for before."""
        end = time.monotonic() + SECONDS
        while (place := self.raw.find(text, self._seen)) < 0:
            assert time.monotonic() < end, f"no {text!r} before {self.raw[-200:]!r}"
            assert self._read(end), f"no {text!r} before {self.raw[-200:]!r}"
        self._seen = place + len(text)

    def type(self, keys: str) -> None:
        """As if somebody typed."""
        os.write(self._ours, keys.encode())

    def ended(self) -> int:
        """The exit code, once the command has ended."""
        end = time.monotonic() + SECONDS
        while self._read(end):
            pass
        return self._process.wait(SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._ours)

    def screen(self) -> list[str]:
        """The lines that stand there, without colours."""
        lines, row, column = [""], 0, 0
        for found in CONTROL.finditer(self.raw):
            piece, (count, kind) = found[0], found.groups()
            number = int(count) if count and count.isdigit() else 1
            if piece == "\r":
                column = 0
            elif piece == "\x08":
                column -= 1
            elif piece == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif kind == "A":
                row -= number
            elif kind == "B":
                row += number
            elif kind == "C":
                column += number
            elif kind == "D":
                column -= number
            elif kind == "K":
                lines[row] = "" if count == "2" else lines[row][:column]
            elif kind == "J":
                lines[row:] = [lines[row][:column]]
            elif kind is None and piece != "\x1b":
                line = lines[row].ljust(column)
                lines[row] = line[:column] + piece + line[column + len(piece) :]
                column += len(piece)
        return [line.rstrip() for line in lines if line.strip()]

    def _read(self, end: float) -> bool:
        """Read what is there; False once the command has closed its side."""
        ready = select.select([self._ours], [], [], max(0.0, end - time.monotonic()))[0]
        assert ready, f"nothing comes any more after {self.raw[-200:]!r}"
        data = b""
        with contextlib.suppress(OSError):  # as Linux says that the other side is closed
            data = os.read(self._ours, 1 << 16)
        self.raw += data.decode("utf-8", "replace")
        return bool(data)


def _own_terminal() -> None:
    """Ctrl-C reaches whoever is in the terminal's foreground."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
