"""Batches on the command line: what is asked for, and what is written where.

Texts are separated by an empty line. Where a text may hold one itself, `null` ends each with a NUL
instead, which no corpus holds, and `as_json` writes an object a line.
"""

import collections.abc
import json
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import GeneratorType
from typing import IO, TYPE_CHECKING, Any

from charlm.data.system import console
from charlm.data.system.errors import CorpusError, SettingsError, as_options
from charlm.data.system.files import os_errors_as
from charlm.infer.batch.intake import NO_END
from charlm.infer.batch.prompt_file import BadLine, check_start, is_json_lines, read_requests
from charlm.infer.batch.results import Failure, Outcome, Result
from charlm.infer.batch.scheduler import Piece
from charlm.infer.cli.shared import say_lacking
from charlm.infer.engines.planning import Work
from charlm.infer.generator import MANY, Generator
from charlm.infer.request import Request
from charlm.infer.sampling import stops
from charlm.infer.sampling.filters import NO_FILTERS

if TYPE_CHECKING:
    from charlm.infer.ray import Cluster

PATIENCE = 2.0  # seconds


def _counted(
    outcomes: Iterator[Outcome], total: int | None, patience: float
) -> "collections.abc.Generator[Outcome, None, None]":
    """The same outcomes, counted on a bar that vanishes at the end.

    Args:
        outcomes: what is counted.
        total: how many there will be, or None.
        patience: seconds: a shorter job needs no bar.
    """
    bar: Any = None
    started = time.monotonic()
    texts = characters = 0
    try:
        for outcome in outcomes:
            texts += 1
            characters += outcome.characters if isinstance(outcome, Result) else 0
            passed = time.monotonic() - started
            if bar is None and passed > patience:
                bar = _bar()
                bar.start()
                task = bar.add_task("texts", total=total, rate=0.0)
            if bar is not None:
                bar.update(task, completed=texts, rate=characters / passed)
            yield outcome
    finally:
        if bar is not None:
            bar.stop()


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    rate = TextColumn("texts, {task.fields[rate]:,.0f} characters/s")
    columns = (BarColumn(), MofNCompleteColumn(), rate, TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


MAX_SAMPLES = 1 << 64  # as many as a seed has streams
STANDARD_INPUT = Path("-")


@dataclass(frozen=True)
class Job:
    """A batch that is asked for.

    Raises:
        SettingsError: options that contradict each other, or out of range.
    """

    request: Request  # the prompt and the settings of all samples; what lines of a file don't say
    samples: int = 1  # texts of the prompt, samples 0, 1, … of its seed
    prompts: Path | None = None  # a file of prompts instead; `-` is standard input
    prompts_format: str = "auto"  # one of `prompt_file.FORMATS`
    width: int | None = None  # how many streams run side by side; None leaves it to the device
    work: Work = MANY  # what is known of it, to choose how it is computed
    ordered: bool = True  # in the order of the requests, or as they are finished
    as_json: bool = False  # an object a line, or text
    null: bool = False  # a NUL after each text, or an empty line between them
    echo: bool = True  # the prompt before the text
    cluster: "Cluster | None" = None  # draws the texts; None: this machine

    def __post_init__(self) -> None:
        if self.request.length == 0:
            if self.prompts is not None or self.samples != 1:
                raise SettingsError(NO_END)
            whole = "`json`" if self.as_json else "`null`"
            raise SettingsError(
                f"{whole} needs a `length`: a text of 0, without end, is never whole"
            )
        if self.as_json and self.null:
            raise SettingsError("`json` and `null` contradict each other: give one of them")
        if not 1 <= self.samples <= MAX_SAMPLES:
            raise SettingsError(f"`samples` is from 1 to {MAX_SAMPLES}, not {self.samples}")


def run(
    out: IO[str], generator: Generator, job: Job, about: str, patience: float = PATIENCE
) -> int:
    """Write the texts of a job, each as soon as its turn has come; the number of failures.

    What is wrong with a line is one line on standard error, and an object with `error` in JSON.

    Args:
        out: where texts go.
        generator: draws them.
        job: what is asked for.
        about: a line for standard error, once it is clear that the job can begin.
        patience: seconds: a shorter job needs no bar.

    Raises:
        CorpusError: the file of prompts can't be read.
        SettingsError: a width that can't be, or an empty stop string.
        VocabularyError: a character of the prompt or of a stop string that the model lacks.
        ModelFileError: the graph can't be run.
    """
    generator.encode(job.request.prompt, job.request.unknown)
    stops.normalised(job.request.stops, generator.metadata)
    writer = _JsonWriter(out) if job.as_json else _TextWriter(out, job)
    with _requests(job) as requests, closing(writer):
        outcomes = _drawn(requests, generator, job, writer)
        console.say(about)
        total = job.samples if job.prompts is None else None
        delivery = _Delivery(out, writer, f"charlm-gen: {job.prompts}")
        if out.isatty() or not sys.stderr.isatty():  # the texts are progress enough, or unseen
            delivery.deliver(outcomes, outcomes)
        else:
            with closing(_counted(outcomes, total, patience)) as seen:
                delivery.deliver(seen, outcomes)
    if delivery.texts == 0:
        console.say(f"charlm-gen: {job.prompts} holds no prompt: nothing was drawn")
    # Samples share one prompt; the prompts of a file are known once they have been read.
    lacking = generator.lacks(job.request.prompt) if job.prompts is None else delivery.lacking
    whose = "the prompt's" if job.prompts is None else "the prompts'"
    say_lacking(lacking, generator.metadata, job.request.unknown, whose)
    return delivery.failures


def _drawn(
    requests: Iterable[Request | BadLine],
    generator: Generator,
    job: Job,
    writer: "_TextWriter | _JsonWriter",
) -> Iterator[Outcome]:
    how: dict[str, Any] = {"width": job.width, "ordered": job.ordered, "work": job.work}
    if job.cluster is not None:
        return job.cluster.batch(requests, **how)
    watcher = writer if job.ordered and isinstance(writer, _TextWriter) else None
    return generator.batch(requests, watcher=watcher, **how)


@contextmanager
def _requests(job: Job) -> Iterator[Iterable[Request | BadLine]]:
    """A job's requests; the file that they stand in is open meanwhile."""
    if job.prompts is None:
        yield (replace(job.request, sample=number) for number in range(job.samples))
        return
    json_lines = is_json_lines(job.prompts.name, job.prompts_format)
    if job.prompts == STANDARD_INPUT:
        yield read_requests(console.standard_input(), job.request, json_lines=json_lines)
        return
    with os_errors_as(CorpusError, f"can't read {job.prompts}"):
        file = job.prompts.open("rb")
        start = file.peek(4)  # a folder can be opened, too
    with file:
        check_start(start, str(job.prompts))
        yield read_requests(file, job.request, json_lines=json_lines)


class _Delivery:
    """Writes outcomes as they come; where Ctrl-C ends it, all that are finished by then.

    Args:
        out: where they are written.
        writer: says what is written of each.
        name: begins the line on standard error of one that failed.

    Attributes:
        texts: how many there were so far, those that failed too.
        failures: how many have failed so far.
        lacking: how many characters of the prompts so far the model lacks.
    """

    def __init__(self, out: IO[str], writer: "_TextWriter | _JsonWriter", name: str) -> None:
        self._out, self._writer, self._name = out, writer, name
        self._in_hand: Outcome | None = None  # was taken, and nothing of it is written yet
        self.texts = self.failures = self.lacking = 0

    def deliver(self, seen: Iterator[Outcome], outcomes: Iterator[Outcome]) -> None:
        """Write what `seen` gives, which passes on what `outcomes`, the batch itself, gives."""
        try:
            for outcome in seen:
                self._write(outcome)
        except KeyboardInterrupt as interruption:
            if self._in_hand:
                self._write(self._in_hand)
            for outcome in _rest(outcomes, interruption):
                self._write(outcome)
            raise

    def _write(self, outcome: Outcome) -> None:
        self._in_hand = outcome
        self.texts += 1
        if isinstance(outcome, Failure):
            self.failures += 1
            console.say(f"{self._name}: line {outcome.line}: {_one_line(outcome)}")
        else:
            self.lacking += outcome.lacking
        text = self._writer.taken(outcome)
        self._in_hand = None
        self._out.write(text)  # in one call: Ctrl-C falls between texts, not into one
        self._out.flush()


def _rest(outcomes: Iterator[Outcome], interruption: KeyboardInterrupt) -> Iterator[Outcome]:
    """What a batch has finished when it is interrupted; then the interruption."""
    if isinstance(outcomes, GeneratorType):
        yield outcomes.throw(interruption)
        yield from outcomes


class _TextWriter:
    """Texts, the first in pieces as it is drawn unless they go into a file."""

    def __init__(self, out: IO[str], job: Job) -> None:
        self._out, self._job = out, job
        self._end = "\0" if job.null else "\n"
        self._between = "" if job.null else "\n"
        self._written = 0  # characters of the text that is being shown
        self._open = False  # whether there is such a text
        self._any = False

    def watches(self, index: int) -> bool:
        """The first text alone, where somebody may look on: blocks are short meanwhile."""
        return index == 0 and not _is_kept(self._out)

    def see(self, pieces: Sequence[Piece]) -> tuple[int, ...]:
        """Write a piece of it."""
        for piece in pieces:
            start = piece.prompt if self._job.echo and not self._open else ""
            self._open = self._any = True
            self._written += len(piece.text)
            self._out.write(start + piece.text)
            self._out.flush()
        return ()

    def taken(self, outcome: Outcome) -> str:
        """Take a text; what is to be written of it: all, or what was not shown."""
        if isinstance(outcome, Failure):
            return ""
        before = ""
        if self._open and outcome.index:  # the first was left before it was finished
            before = self._end
            self._written, self._open = 0, False
        text = outcome.text[self._written :]
        if not self._open:
            echo = outcome.prompt if self._job.echo else ""
            text = (self._between if self._any else "") + echo + text
        self._written, self._open, self._any = 0, False, True
        return before + text + self._end

    def close(self) -> None:
        """End the line of a text that was left."""
        if self._open:
            self._out.write("\n")
            self._out.flush()


def _is_kept(out: IO[str]) -> bool:
    """Whether it is a file, or thrown away, so that nobody sees it as it comes."""
    try:
        kind = os.fstat(out.fileno()).st_mode
    except OSError:  # it is none of the system's
        return False
    return stat.S_ISREG(kind) or (stat.S_ISCHR(kind) and not out.isatty())


class _JsonWriter:
    """Objects, one a line."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        # Readable where all of Unicode can be written, and never wrong.
        self._ascii = (getattr(out, "encoding", None) or "").lower().replace("-", "") != "utf8"

    def taken(self, outcome: Outcome) -> str:
        """The object of an outcome."""
        line = json.dumps(as_object(outcome), ensure_ascii=self._ascii) + "\n"
        return line.encode("utf-8", "backslashreplace").decode()  # half of a pair, as JSON has it

    def close(self) -> None:
        """Nothing is left open."""


def as_object(outcome: Outcome) -> dict[str, Any]:
    """What JSON Lines say of an outcome.

    The prompt is the one that was given; with `seed`, `sample` and `temperature` (and filters,
    where there are some) it can be handed in again. `stop` is the stop string that ended the text,
    `lacking` how many characters of the prompt the model lacks, where it does.
    """
    if isinstance(outcome, Failure):
        return {"index": outcome.index, "line": outcome.line, "error": _one_line(outcome)}
    asked, off = outcome.request, vars(NO_FILTERS)
    filters = vars(asked.filters)
    return {
        "index": outcome.index,
        "prompt": asked.prompt,
        "text": outcome.text,
        "seed": asked.seed,
        "sample": asked.sample,
        "temperature": asked.temperature,
        **{name: value for name, value in filters.items() if value != off[name]},
        **({"window": asked.window} if asked.window is not None else {}),
        "finish": outcome.finish,
        **({"stop": outcome.stop} if outcome.stop is not None else {}),
        "characters": outcome.characters,
        **({"lacking": outcome.lacking} if outcome.lacking else {}),
    }


def _one_line(failure: Failure) -> str:
    return as_options(" ".join(str(failure.error).splitlines()))
