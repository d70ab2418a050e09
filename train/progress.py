"""A training run as a person watches it: a progress bar, a line an epoch, samples of text."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from charlm.data.system.errors import RunError
from charlm.data.system.files import os_errors_as
from charlm.train.runs import run_folder
from charlm.train.runs.checkpoint import Checkpoint
from charlm.train.runs.checkpoint import Progress as TrainingProgress
from charlm.train.signals import StopSignals


class Unfailing:
    """A stream as long as it can be written, and nothing after that: a run goes on unwatched.

    Args:
        stream: a text stream, such as stderr.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write, or no longer."""
        with self._survived():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or no longer."""
        with self._survived():
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    @contextlib.contextmanager
    def _survived(self) -> Iterator[None]:
        try:
            yield
        except OSError:  # a full disk, or a reader that left: what is still held goes nowhere too
            with open(os.devnull, "w") as nothing:  # noqa: PTH123 - a descriptor is wanted, no path
                os.dup2(nothing.fileno(), self.stream.fileno())


class Display:
    """Shows a run on stderr and writes its folder; see `observer.Observer`.

    Args:
        console: where to show it; the bar is left out where that is no terminal.
        folder: the run folder.
        signals: tells when to stop.
    """

    def __init__(self, console: Console, folder: Path, signals: StopSignals) -> None:
        self.console, self.folder, self.signals = console, folder, signals
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[bits]} bits/char  {task.fields[speed]} chars/s"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("epoch 1", total=None, bits="-----", speed="--")
        self.last: Checkpoint | None = None

    def __enter__(self) -> "Display":
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def stepped(
        self, progress: TrainingProgress, bits: float, characters_per_second: float
    ) -> None:
        """Move the bar."""
        self.bar.update(
            self.task,
            description=f"epoch {progress.epoch + 1}",
            total=progress.total_steps,
            completed=progress.step,
            bits=f"{bits:.3f}",
            speed=f"{characters_per_second:,.0f}",
        )

    def evaluated(self, record: dict[str, Any], text: str) -> None:
        """Print an epoch's line and sample."""
        held_out = record["validation_bits"]
        judged = "" if held_out is None else f", validation {held_out:.3f}"
        self.console.print(
            f"epoch {record['epoch']:g}: training {record['train_bits']:.3f}{judged} bits/char, "
            f"{record['characters_per_second']:,} chars/s"
        )
        shown = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        self.console.print(f"  {shown}", style="dim")

    def must_stop(self) -> bool:
        """Whether a signal has asked for it."""
        return self.signals.received is not None

    def save(self, checkpoint: Checkpoint, epoch_ended: bool) -> None:
        """Save the state first, then what is derived from it."""
        first, self.last = self.last is None, checkpoint
        checkpoint.save(self.folder)
        if first:
            with os_errors_as(RunError, f"can't write into {self.folder}"):
                run_folder.remove_older(self.folder, checkpoint)
        if epoch_ended:
            run_folder.write(self.folder, checkpoint)
