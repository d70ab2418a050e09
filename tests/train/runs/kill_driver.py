"""Runs `charlm-train` and kills it at a chosen moment; a script for `test_resume.py`.

Usage: kill_driver.py MOMENT ARGUMENT…, with MOMENT one of

    step:N            SIGKILL after optimiser step N, between two saves
    write:FILE:N      SIGKILL in the middle of writing FILE's temporary file, the Nth time
    rename:FILE:N     SIGKILL when that file is whole, before it takes its name
    renamed:FILE:N    SIGKILL when it has taken its name
    SIGINT:N          SIGINT after step N (any other likewise; SIGTERM+SIGINT: one after another)

Saves are as frequent as can be: one every five steps.
"""

import io
import os
import signal
import sys
from itertools import count
from pathlib import Path
from typing import Any

from charlm.train import cli
from charlm.train.loop import training as loop
from charlm.train.loop.display import Display


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def at_step(step: int, *numbers: signal.Signals) -> None:
    ask = Display.must_stop
    calls = count(1)

    def must_stop(display: Display) -> bool:
        if next(calls) == step:
            for number in numbers:
                send(number)
        return ask(display)

    Display.must_stop = must_stop  # type: ignore[method-assign, assignment]


class Deadly(io.BufferedWriter):
    """A file that gets half of what is written to it, and is the last that its process does."""

    def write(self, content: Any) -> int:
        super().write(content[: len(content) // 2])
        self.flush()
        send(signal.SIGKILL)
        raise AssertionError


def while_writing(name: str, time: int) -> None:
    ordinary: Any = Path.open
    calls = count(1)

    def open_file(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if mode == "xb" and path.name.startswith(f".{name}.") and next(calls) == time:
            return Deadly(io.FileIO(path, mode))
        return ordinary(path, mode, *arguments, **options)

    Path.open = open_file  # type: ignore[method-assign, assignment]


def while_renaming(name: str, time: int, *, after: bool) -> None:
    replace = os.replace
    calls = count(1)

    def deadly(source: Any, target: Any) -> None:
        now = Path(target).name == name and next(calls) == time
        if now and not after:
            send(signal.SIGKILL)
        replace(source, target)
        if now:
            send(signal.SIGKILL)

    os.replace = deadly  # type: ignore[assignment]


def main() -> None:
    loop.SAVE_SECONDS, loop.CHECK_EVERY = 0.0, 5
    match sys.argv[1].split(":"):
        case ["step", step]:
            at_step(int(step), signal.SIGKILL)
        case ["write", name, time]:
            while_writing(name, int(time))
        case ["rename" | "renamed" as moment, name, time]:
            while_renaming(name, int(time), after=moment == "renamed")
        case [names, step] if names.startswith("SIG"):
            at_step(int(step), *(signal.Signals[name] for name in names.split("+")))
        case _:
            sys.exit(__doc__)
    sys.argv = ["charlm-train", "--no-report", *sys.argv[2:]]
    cli.main()


if __name__ == "__main__":
    main()
