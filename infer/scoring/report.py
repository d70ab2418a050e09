"""Scoring files and writing what was found, as lines or as JSON."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import IO, Any

from charlm.data.system import console
from charlm.data.system.errors import CharlmError, CorpusError, SettingsError
from charlm.data.system.files import os_errors_as
from charlm.data.text.corpus import read_text
from charlm.data.text.vocabulary import Unknown
from charlm.infer.batch.results import in_order
from charlm.infer.model.open import Model
from charlm.infer.planning import WORTH_CUDA_STREAMS, Work
from charlm.infer.request import check_window
from charlm.infer.scoring.many import (
    TEXT_ERRORS,
    WIDTHS,
    WORKERS_OF_GPU,
    Scored,
    Text,
    score_many,
)
from charlm.infer.scoring.score import Score, Scorer

STANDARD_INPUT = Path("-")
WORTH_A_BAR = 1 << 18  # bytes: fewer are scored before one could read it
CHUNK_BYTES = 1 << 16  # of each file: hundreds are read side by side

Advance = Callable[[int], object]  # takes how many bytes were done


def read_file(path: Path, encoding: str, advance: Advance) -> Iterator[str]:
    """The chunks of a text file, which is opened now; `-` is standard input.

    Args:
        path: of the file.
        encoding: any that Python knows.
        advance: is told how many bytes the text that was asked for last had.

    Raises:
        CorpusError: the file can't be read, or not in that encoding.
    """
    if path == STANDARD_INPUT:
        yield from read_text(
            console.standard_input(), encoding, "standard input", chunk_bytes=CHUNK_BYTES
        )
        return
    with os_errors_as(CorpusError, f"can't read {path}"), path.open("rb") as file:
        done = 0
        for chunk in read_text(file, encoding, str(path), chunk_bytes=CHUNK_BYTES):
            yield chunk
            place = file.tell() if file.seekable() else done
            advance(place - done)
            done = place


@contextlib.contextmanager
def progress_of(files: Sequence[Path]) -> Iterator[Advance]:
    """What to tell of the bytes that are done; a bar shows them, if there are enough."""
    size = sum(map(_size, files))
    if size < WORTH_A_BAR or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    name = files[0].name if len(files) == 1 else f"{len(files)} files"
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=size)
        yield lambda done: bar.advance(task, done)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # whoever reads it says what is wrong
        return 0


@dataclass(frozen=True)
class ScoringJob:
    """What to score, and how.

    Attributes:
        files: at least one; `-` is standard input.
        encoding: of the files.
        unknown: what becomes of characters that the model does not know; None: as with its corpus.
        precision: of the graph that reads them.
        threads: how many may run side by side.
        parallel: cut each text into segments.
        segments: how many side by side; None: as many as are fast.
        warm_up: characters that each segment reads before its own; None: as measured.
        as_json: write one JSON object instead of lines.
        window: judge each character after exactly so many; None: after all before it.
    """

    files: Sequence[Path]
    encoding: str = "utf-8"
    unknown: Unknown | None = None
    precision: str = "float32"
    threads: int = 1
    parallel: bool = False
    segments: int | None = None
    warm_up: int | None = None
    as_json: bool = False
    window: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("`segments`", self.segments), ("`warm_up`", self.warm_up)):
            if value is not None and not self.parallel:
                raise SettingsError(f"{name} is for texts that are cut up: give `parallel`, too")
        check_window(self.window)
        if self.window is not None and self.parallel:
            raise SettingsError(
                "`window` scores side by side as it is, exactly: leave `parallel` out"
            )

    @property
    def alone(self) -> bool:
        """Whether a single text is read from its beginning to its end."""
        return len(self.files) == 1 and not self.parallel and self.window is None


def work_of(job: ScoringJob) -> Work:
    """What is to be scored, as work: a character a byte, several streams in each text if cut.

    What is no file, such as a pipe, counts as without end.
    """
    sizes = [path.stat().st_size if path.is_file() else 0 for path in job.files]
    cut = job.parallel or job.window is not None
    streams = WORTH_CUDA_STREAMS if cut else len(job.files)
    return Work(streams, sum(sizes) // streams if all(sizes) else 0)


def run(out: IO[str], model: Model, job: ScoringJob, about: str) -> int:
    """Score the files and write what was found; how many of several could not be scored.

    What is wrong with one of several files is a line on stderr, and the others are scored. What is
    found before an error of the model or Ctrl-C is written, too.

    Args:
        out: where scores go.
        model: an open model.
        job: what is asked for.
        about: a line for standard error, once there is something to be said of it.

    Raises:
        CharlmError: what is wrong with the only file, with the model, or with a setting.
    """
    writer = _Writer(out, job.as_json)
    with progress_of(job.files) as advance:
        texts = [Text(str(path), read_file(path, job.encoding, advance)) for path in job.files]
        try:
            for scored in in_order(_scored(model, texts, job)):
                result = scored.result
                if isinstance(result, CharlmError) and len(texts) == 1:
                    raise result
                if about:
                    console.say(about)
                    about = ""
                if isinstance(result, CharlmError):
                    console.say(f"charlm-score: {result}")
                writer.take(texts[scored.index].name, result)
        except (Exception, KeyboardInterrupt):
            writer.end(whole=False)
            raise
    writer.end(whole=True)
    return writer.failures


class _Writer:
    """Writes a line for each score as it comes, and their total; or one object at the end."""

    def __init__(self, out: IO[str], as_json: bool) -> None:
        self._out, self._as_json = out, as_json
        self._scores: list[Score] = []
        self._listed: list[dict[str, Any]] = []
        self.failures = 0

    def take(self, name: str, result: Score | CharlmError) -> None:
        """Take what became of a text."""
        if isinstance(result, CharlmError):
            self.failures += 1
            self._listed.append({"file": name, "error": str(result)})
            return
        self._scores.append(result)
        self._listed.append({"file": name, **result.fields()})
        if not self._as_json:
            self._write(f"{name}: {result.described()}")

    def end(self, *, whole: bool) -> None:
        """Write the total of what was found.

        Args:
            whole: nothing is missing that is not on stderr: only then a line says the total.
        """
        total = reduce(add, self._scores) if self._scores else None
        if self._as_json:
            if whole or self._listed:
                fields = total.fields() if total else None
                self._write(json.dumps({"files": self._listed, "total": fields}))
        elif total and whole and len(self._scores) > 1:
            name = f"total of {len(self._scores)} files" if self.failures else "total"
            self._write(f"{name}: {total.described()}")

    def _write(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()


def _scored(model: Model, texts: Sequence[Text], job: ScoringJob) -> Iterator[Scored]:
    """What became of each text, as they are finished."""
    workers = job.threads if model.device == "cpu" else WORKERS_OF_GPU
    if not (job.parallel or job.window is not None or job.alone):
        workers = min(workers, len(texts))
        width = min(WIDTHS[model.device], -(-len(texts) // workers))
        return score_many(
            model, texts, unknown=job.unknown, precision=job.precision, workers=workers, width=width
        )
    return _one_by_one(_scorer(model, job, workers), texts)


def _scorer(model: Model, job: ScoringJob, workers: int) -> Scorer:
    """What scores the texts of a job one after another."""
    if job.parallel:
        from charlm.infer.scoring.segments import SegmentScorer

        return SegmentScorer(
            model, job.unknown, job.precision,
            workers=workers, segments=job.segments, warm_up=job.warm_up,
        )  # fmt: skip
    if job.window is not None:
        from charlm.infer.scoring.windows import WindowScorer

        return WindowScorer(model, job.window, job.unknown, job.precision, workers=workers)
    shared = model.uses_native(job.precision) and model.shares_steps(job.precision)
    return Scorer(model, job.unknown, job.precision, job.threads if shared else model.threads)


def _one_by_one(scorer: Scorer, texts: Iterable[Text]) -> Iterator[Scored]:
    for index, text in enumerate(texts):
        try:
            yield Scored(index, scorer.score(text.chunks, text.name))
        except TEXT_ERRORS as problem:
            yield Scored(index, problem)
