"""A training run as a person watches it and stops it: a bar, a line an epoch, samples, Ctrl-C."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from charlm.data.system.errors import RunError
from charlm.data.system.files import os_errors_as
from charlm.train.config import regularisation
from charlm.train.loop.evaluate import bits_per_character
from charlm.train.model import CharLSTM
from charlm.train.runs import run_folder
from charlm.train.runs.checkpoint import Checkpoint
from charlm.train.runs.checkpoint import Progress as TrainingProgress
from charlm.train.setup.start import Started

HANG_UP = getattr(signal, "SIGHUP", None)  # of a terminal that closes; Windows has none
STOPPING = [each for each in (signal.SIGINT, signal.SIGTERM, HANG_UP) if each]
MEASURED = 200_000  # characters at the most, of weights to begin from: a few seconds


class Unfailing:
    """A text stream as long as it can be written, and nothing after: a run goes on unwatched."""

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


class Observer:
    """What a training run tells; on a rank above 0, where nothing is shown or kept, it is this one.

    While entered, a signal is a wish to stop after the current step, so that nothing is lost; the
    same once more ends the process at once. The handlers that were there before come back.

    Attributes:
        received: the signal, if one came.
        steps_an_epoch: of the run; 0 while nobody has said.
    """

    steps_an_epoch = 0

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Observer":
        if threading.current_thread() is threading.main_thread():  # signals are the main thread's
            for number in STOPPING:
                ignored = signal.getsignal(number) == signal.SIG_IGN
                if not (number == HANG_UP and ignored):  # as nohup has it
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *raised: object) -> None:
        self._restore()

    def stepped(
        self, progress: TrainingProgress, bits: float, characters_per_second: float
    ) -> None:
        """After every few steps: the mean training loss of this epoch, and the speed."""

    def evaluated(self, record: dict[str, Any], text: str) -> None:
        """After each epoch: its line of `metrics.jsonl`, and a sample of text."""

    def must_stop(self) -> bool:
        """Whether to save and stop now: a signal has asked for it."""
        return self.received is not None

    def save(self, checkpoint: Checkpoint, epoch_ended: bool) -> None:
        """Keep the run's state; called every half minute, and at the end of each epoch."""

    def _note(self, number: int, _: object) -> None:
        if number == self.received:
            self._restore()
            signal.raise_signal(number)
        self.received = self.received or number

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Display(Observer):
    """An observer that shows a run on stderr and writes its folder.

    Args:
        console: where to show it; the bar is left out where that is no terminal.
        folder: the run folder.
    """

    def __init__(self, console: Console, folder: Path) -> None:
        super().__init__()
        self.console, self.folder = console, folder
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
        super().__enter__()
        self.bar.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.bar.stop()
        super().__exit__(*raised)

    def stepped(
        self, progress: TrainingProgress, bits: float, characters_per_second: float
    ) -> None:
        """Move the bar."""
        self.bar.update(
            self.task,
            description=self._epoch(progress.epoch + 1),
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
            f"{self._epoch(record['epoch'])}: training {record['train_bits']:.3f}{judged} "
            f"bits/char, {record['characters_per_second']:,} chars/s"
        )
        self.console.print(_shown(text), style="dim")

    def _epoch(self, number: float) -> str:
        """`epoch 2 of 20`; of how many, as soon as the number of steps is fixed."""
        total = self.last.progress.total_steps if self.last is not None else None
        whole = [total / self.steps_an_epoch] if total and self.steps_an_epoch else []
        return "epoch " + " of ".join(map(in_epochs, (number, *whole)))

    def save(self, checkpoint: Checkpoint, epoch_ended: bool) -> None:
        """Save the state first, then what is derived from it."""
        first, self.last = self.last is None, checkpoint
        checkpoint.save(self.folder)
        if first:
            with os_errors_as(RunError, f"can't write into {self.folder}"):
                run_folder.remove_older(self.folder, checkpoint)
        if epoch_ended:
            run_folder.write(self.folder, checkpoint)


def in_epochs(number: float) -> str:
    """How often a text was read."""
    return f"{round(number, 2) or number:g}"


def _shown(text: str) -> str:
    """A sample inside a margin, as it is but for a second empty line between two."""
    plain = "".join(c if c.isprintable() or c == "\n" else " " for c in text.expandtabs(4))
    lines = [line.rstrip() for line in plain.strip("\n").split("\n")]
    kept = [line for n, line in enumerate(lines) if line or (n and lines[n - 1])]
    return "\n".join(f"  {line}".rstrip() for line in kept)


def introduce(console: Console, started: Started, processes: int) -> None:
    """Say what is about to be trained, on what, and from where."""
    setup, splits = started.setup, started.splits
    training, model = setup.training, setup.model
    threads = "1 thread" if training.threads == 1 else f"{training.threads} threads"
    again = "" if started.progress is None else f", resumed at step {started.progress.step}"
    held_back = "".join(f", {each}" for each in regularisation(model, training.weight_decay))
    together = "" if processes == 1 else f" in each of {processes} processes"
    console.print(
        f"{started.folder}: {sum(map(len, splits)):,} characters, {model.vocabulary} distinct; "
        f"{model.layers} x LSTM({model.hidden}){held_back}, recipe {training.recipe}, "
        f"{training.device}, {threads}{together}{again}",
    )
    if limited := setup.rare.described(model.vocabulary):
        console.print(f"{started.folder}: {limited}")
    if started.weights is not None and setup.initialised_from is not None:
        begun = f"{started.folder}: begins with the weights of {setup.initialised_from['name']}"
        begun += f" ({looks})" if (looks := setup.normalisation.described) else ""
        part = splits.validation[:MEASURED]
        if len(part) > 1:
            network = CharLSTM(model)
            network.load_state_dict(started.weights)
            bits = bits_per_character(network, part)
            begun += f": validation {bits:.3f} bits/char before training"
        console.print(begun)
