"""Scoring files and writing what was found, as lines or as JSON."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from charlm.data.system import console
from charlm.data.system.errors import CorpusError
from charlm.data.system.files import os_errors_as
from charlm.data.text.corpus import read_text
from charlm.infer.lacking import of_text
from charlm.infer.scoring.score import Score, WindowScore

if TYPE_CHECKING:  # one file as it stands is the common case, and starts without this
    from charlm.infer.scoring.score_segments import SegmentedScore
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import IO, TYPE_CHECKING

from charlm.data.system.errors import CharlmError, SettingsError
from charlm.data.text.vocabulary import Unknown
from charlm.infer.model.artifact import Model
from charlm.infer.scoring.score import Scorer
from charlm.infer.scoring.score_batch import TEXT_ERRORS, WIDTHS, WORKERS_OF_GPU, Text, score_many
from charlm.infer.window import check_window

if TYPE_CHECKING:  # one file as it stands is the common case, and starts without this
    from charlm.infer.scoring.score_segments import SegmentScorer
    from charlm.infer.scoring.score_window import WindowScorer


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


Found: TypeAlias = "Score | SegmentedScore | WindowScore"


def line(name: str, found: Found) -> str:
    """A text's name and what was found of it, for people."""
    score = found if isinstance(found, Score) else found.score
    said = (
        f"{name}: {score.bits_per_character:.4f} bits/char, "
        f"perplexity {score.perplexity:.3f}, {score.characters:,} characters{of_text(score)}"
    )
    if isinstance(found, Score):
        return said
    return f"{said}; {_by_windows(found) if isinstance(found, WindowScore) else _cut_up(found)}"


def _by_windows(found: WindowScore) -> str:
    return (
        f"each after the last {found.window} alone; "
        f"state carried: {found.carried.bits_per_character:.4f} bits/char"
    )


def _cut_up(found: "SegmentedScore") -> str:
    """What cutting the text up has done to its score."""
    if found.borders == 0:
        return "too short to be cut, exact"
    error = f" ± {found.difference_error:.1g}" if found.difference_error else ""
    return (
        f"{found.segments} segments, warmed up on {found.warm_up} characters: "
        f"{found.difference:+.2g}{error} bits/char from the exact figure, "
        f"measured at {len(found.excess)} of {found.borders} borders"
    )


def fields(found: Found) -> dict[str, Any]:
    """What JSON says of a score."""
    if isinstance(found, WindowScore):
        return {
            **fields(found.score),
            "window": found.window,
            "carried": fields(found.carried),
        }
    if not isinstance(found, Score):
        return {
            **fields(found.score),
            "parallel": True,
            "segments": found.segments,
            "warm_up": found.warm_up,
            "difference_from_exact": found.difference,
            "difference_error": found.difference_error,
            "borders_measured": len(found.excess),
        }
    return {
        "bits_per_character": found.bits_per_character,
        "perplexity": found.perplexity,
        "characters": found.characters,
        "bits": found.bits,
        "replaced": found.replaced,
        "dropped": found.dropped,
    }


# A text's place, and its score or why it has none.
Outcome: TypeAlias = "tuple[int, Found | CharlmError]"


@dataclass(frozen=True)
class Job:
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
    encoding: str
    unknown: Unknown | None
    precision: str
    threads: int
    parallel: bool
    segments: int | None
    warm_up: int | None
    as_json: bool
    window: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("--segments", self.segments), ("--warm-up", self.warm_up)):
            if value is not None and not self.parallel:
                raise SettingsError(f"{name} is for texts that are cut up: give --parallel, too")
        check_window(self.window)
        if self.window is not None and self.parallel:
            raise SettingsError(
                "--window scores side by side as it is, exactly: leave --parallel out"
            )

    @property
    def alone(self) -> bool:
        """Whether a single text is read from its beginning to its end."""
        return len(self.files) == 1 and not self.parallel and self.window is None


def run(out: IO[str], model: Model, job: Job, about: str) -> int:
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
    writer = _JsonWriter(out) if job.as_json else _LineWriter(out)
    with progress_of(job.files) as advance:
        texts = [Text(str(path), read_file(path, job.encoding, advance)) for path in job.files]
        try:
            for index, result in _in_order(_outcomes(model, texts, job)):
                if isinstance(result, CharlmError) and len(texts) == 1:
                    raise result
                if about:
                    console.say(about)
                    about = ""
                if isinstance(result, CharlmError):
                    console.say(f"charlm-score: {result}")
                writer.take(texts[index].name, result)
        except (Exception, KeyboardInterrupt):
            writer.end(whole=False)
            raise
    writer.end(whole=True)
    return writer.failures


class _LineWriter:
    """Writes a line for each score as it comes, and their total."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._found: list[Found] = []
        self.failures = 0

    def take(self, name: str, result: "Found | CharlmError") -> None:
        """Take what became of a text."""
        if isinstance(result, CharlmError):
            self.failures += 1
            return
        self._found.append(result)
        self._out.write(line(name, result) + "\n")
        self._out.flush()

    def end(self, *, whole: bool) -> None:
        """Write the total, if nothing is missing from it that is not on stderr."""
        if whole and len(self._found) > 1:
            name = f"total of {len(self._found)} files" if self.failures else "total"
            self._out.write(line(name, reduce(add, self._found)) + "\n")


class _JsonWriter:
    """Writes one object at the end."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._found: list[Found] = []
        self._listed: list[dict[str, Any]] = []
        self.failures = 0

    def take(self, name: str, result: "Found | CharlmError") -> None:
        """Take what became of a text."""
        if isinstance(result, CharlmError):
            self.failures += 1
            self._listed.append({"file": name, "error": str(result)})
            return
        self._found.append(result)
        self._listed.append({"file": name, **fields(result)})

    def end(self, *, whole: bool) -> None:
        """Write the object, if there is anything in it; the total is of what was found."""
        if whole or self._listed:
            total = fields(reduce(add, self._found)) if self._found else None
            self._out.write(json.dumps({"files": self._listed, "total": total}) + "\n")
            self._out.flush()


def _outcomes(model: Model, texts: Sequence[Text], job: Job) -> Iterator[Outcome]:
    """The outcome of each text, as they are finished."""
    workers = job.threads if model.device == "cpu" else WORKERS_OF_GPU
    if job.parallel:
        from charlm.infer.scoring.score_segments import WARM_UP, SegmentScorer

        warm_up = WARM_UP if job.warm_up is None else job.warm_up
        segments = SegmentScorer(
            model, job.unknown, job.precision,
            workers=workers, segments=job.segments, warm_up=warm_up,
        )  # fmt: skip
        return _one_by_one(segments, texts)
    if job.window is not None:
        from charlm.infer.scoring.score_window import WindowScorer

        windows = WindowScorer(model, job.window, job.unknown, job.precision, workers=workers)
        return _one_by_one(windows, texts)
    if job.alone:
        shared = model.uses_native(job.precision) and model.shares_steps(job.precision)
        threads = job.threads if shared else model.threads
        return _one_by_one(Scorer(model, job.unknown, job.precision, threads), texts)
    workers = min(workers, len(texts))
    width = min(WIDTHS[model.device], -(-len(texts) // workers))
    many = score_many(
        model, texts, unknown=job.unknown, precision=job.precision, workers=workers, width=width
    )
    return ((scored.index, scored.result) for scored in many)


def _one_by_one(
    scorer: "Scorer | SegmentScorer | WindowScorer", texts: Iterable[Text]
) -> Iterator[Outcome]:
    for index, text in enumerate(texts):
        try:
            yield index, scorer.score(text.chunks, text.name)
        except TEXT_ERRORS as problem:
            yield index, problem


def _in_order(outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """The same in the order of the texts; all that is finished comes before an error or Ctrl-C."""
    waiting: dict[int, Found | CharlmError] = {}
    following = 0
    try:
        for index, result in outcomes:
            waiting[index] = result
            while following in waiting:
                yield following, waiting.pop(following)
                following += 1
    except (Exception, KeyboardInterrupt):
        yield from sorted(waiting.items())
        raise
