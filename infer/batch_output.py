"""Batches on the command line: what is asked for, and what is written where.

Texts are separated by an empty line. Where a text may hold one itself, `null` ends each with a NUL
instead, which no corpus holds, and `as_json` writes an object a line.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from charlm.data import console
from charlm.data.errors import CorpusError, SettingsError
from charlm.data.files import os_errors_as
from charlm.infer import stops
from charlm.infer.batch_progress import watched
from charlm.infer.generator import Generator
from charlm.infer.requests import BadLine, Request, is_json_lines, read_requests
from charlm.infer.results import Failure, Outcome, Result

MAX_SAMPLES = 1 << 64  # as many as there are streams of a seed
STANDARD_INPUT = Path("-")


@dataclass(frozen=True)
class Job:
    """A batch that is asked for.

    Attributes:
        requests: read as they are needed.
        name: where they stand, for messages.
        total: how many there are, or None where nobody knows yet.
        width: how many streams run side by side; None leaves it to the device.
        ordered: write in the order of the requests, or as they are finished.
        as_json: an object a line, or text.
        null: a NUL after each text, or an empty line between them.
        echo: write the prompt before the text.
    """

    requests: Iterable[Request | BadLine]
    name: str = ""
    total: int | None = None
    width: int | None = None
    ordered: bool = True
    as_json: bool = False
    null: bool = False
    echo: bool = True

    def __post_init__(self) -> None:
        if self.as_json and self.null:
            raise SettingsError("--json and --null contradict each other: give one of them")


def samples(request: Request, count: int, generator: Generator) -> Iterator[Request]:
    """Requests for several texts of one prompt, which are streams 0, 1, … of its seed.

    Raises:
        SettingsError: a count out of range, or an empty stop string.
        VocabularyError: a character of the prompt or of a stop string that the model lacks.
    """
    if not 1 <= count <= MAX_SAMPLES:
        raise SettingsError(f"--samples is from 1 to {MAX_SAMPLES}, not {count}")
    check(request, generator)
    generator.encode(request.prompt, request.unknown)
    return (replace(request, stream=stream) for stream in range(count))


def check(request: Request, generator: Generator) -> None:
    """What goes for all texts, at once rather than once for each.

    Raises:
        SettingsError, VocabularyError: a stop string, or `unknown`, that can't be.
    """
    generator.encode("", request.unknown)
    stops.normalised(request.stop, generator.metadata)


@contextmanager
def prompts(path: Path, form: str, defaults: Request) -> Iterator[Iterable[Request | BadLine]]:
    """The requests of a file, which is open meanwhile; `-` is standard input.

    Raises:
        CorpusError: the file can't be read.
        SettingsError: `form` is not one of `requests.FORMATS`.
    """
    json_lines = is_json_lines(path.name, form)
    if path == STANDARD_INPUT:
        import sys

        yield read_requests(sys.stdin.buffer, defaults, json_lines=json_lines)
        return
    with os_errors_as(CorpusError, f"can't read {path}"):
        file = path.open("rb")
    with file:
        yield read_requests(file, defaults, json_lines=json_lines)


def run(out: IO[str], generator: Generator, job: Job) -> int:
    """Write the texts of a job, each as soon as its turn has come; the number of failures.

    What is wrong with a line is one line on standard error, and an object with `error` in JSON.

    Raises:
        SettingsError: a width that can't be.
        ModelFileError: the graph can't be run.
    """
    writer = _JsonWriter(out) if job.as_json else _TextWriter(out, job)
    show_first = writer.show if isinstance(writer, _TextWriter) and job.ordered else None
    outcomes = generator.batch(
        job.requests, width=job.width, ordered=job.ordered, show_first=show_first
    )
    failures = 0
    with closing(writer), watched(outcomes, job.total, out) as seen:
        for outcome in seen:
            if isinstance(outcome, Failure):
                failures += 1
                console.say(f"charlm-gen: {_where(job, outcome)}{_one_line(outcome)}")
            writer.write(outcome)
            out.flush()
    return failures


class _TextWriter:
    """Texts, the first in pieces as it is drawn."""

    def __init__(self, out: IO[str], job: Job) -> None:
        self._out, self._job = out, job
        self._end = "\0" if job.null else "\n"
        self._between = "" if job.null else "\n"
        self._written = 0  # characters of the text that is being shown
        self._open = False  # whether there is such a text
        self._any = False

    def show(self, prompt: str, piece: str) -> None:
        """Write a piece of the first text."""
        start = prompt if self._job.echo and not self._open else ""
        self._open = self._any = True
        self._written += len(piece)
        self._out.write(start + piece)
        self._out.flush()

    def write(self, outcome: Outcome) -> None:
        """Write a text, or the rest of it."""
        if isinstance(outcome, Failure):
            return
        text = outcome.text[self._written :]
        if not self._open:
            text = (self._between if self._any else "") + self._echo(outcome) + text
        # In one call: Ctrl-C falls between texts, not into one.
        self._out.write(text + self._end)
        self._written, self._open, self._any = 0, False, True

    def close(self) -> None:
        """End the line of a text that was left."""
        if self._open:
            self._out.write("\n")
            self._out.flush()

    def _echo(self, outcome: Result) -> str:
        return outcome.prompt if self._job.echo else ""


class _JsonWriter:
    """Objects, one a line."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        # Readable where all of Unicode can be written, and never wrong.
        self._ascii = (out.encoding or "").lower().replace("-", "") != "utf8"

    def write(self, outcome: Outcome) -> None:
        """Write an object."""
        self._out.write(json.dumps(as_object(outcome), ensure_ascii=self._ascii) + "\n")

    def close(self) -> None:
        """Nothing is left open."""


def as_object(outcome: Outcome) -> dict[str, Any]:
    """What JSON Lines say of an outcome.

    The prompt is the one that was given; with `seed`, `stream` and `temperature` (and filters,
    where there are some) it can be handed in again. `stop` is the stop string that ended the text.
    """
    if isinstance(outcome, Failure):
        return {"index": outcome.index, "line": outcome.line, "error": _one_line(outcome)}
    asked = outcome.request
    filters = {
        name: value
        for name, value in (
            ("top_k", asked.filters.top_k),
            ("top_p", asked.filters.top_p),
            ("min_p", asked.filters.min_p),
        )
        if value != getattr(type(asked.filters)(), name)
    }
    return {
        "index": outcome.index,
        "prompt": asked.prompt,
        "text": outcome.text,
        "seed": asked.seed,
        "stream": asked.stream,
        "temperature": asked.temperature,
        **filters,
        "finish": outcome.finish,
        **({"stop": outcome.stop} if outcome.stop is not None else {}),
        "characters": outcome.characters,
    }


def _where(job: Job, failure: Failure) -> str:
    return f"{job.name}: line {failure.line}: " if failure.line is not None else ""


def _one_line(failure: Failure) -> str:
    return " ".join(str(failure.error).splitlines())
