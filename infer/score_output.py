"""Scoring files and writing what was found, as lines or as JSON."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import IO, Any

from charlm.data import console
from charlm.data.errors import CharlmError, SettingsError
from charlm.data.vocabulary import Unknown
from charlm.infer.artifact import Model
from charlm.infer.score import Score, Scorer
from charlm.infer.score_batch import TEXT_ERRORS, WIDTHS, Text, score_many
from charlm.infer.score_progress import progress_of, read_file
from charlm.infer.score_segments import WARM_UP, SegmentedScore, SegmentScorer

Found = Score | SegmentedScore
Outcome = tuple[int, Found | CharlmError]  # the text's place, and its score or why it has none


@dataclass(frozen=True)
class Job:
    """What to score, and how.

    Attributes:
        files: at least one; `-` is standard input.
        encoding: of the files.
        unknown: what becomes of characters that the model does not know.
        precision: of the graph that reads them.
        threads: how many may run side by side.
        parallel: cut each text into segments.
        segments: how many side by side; None: as many as are fast.
        warm_up: characters that each segment reads before its own; None: as measured.
        as_json: write one JSON object instead of lines.
    """

    files: Sequence[Path]
    encoding: str
    unknown: Unknown
    precision: str
    threads: int
    parallel: bool
    segments: int | None
    warm_up: int | None
    as_json: bool

    def __post_init__(self) -> None:
        for name, value in (("--segments", self.segments), ("--warm-up", self.warm_up)):
            if value is not None and not self.parallel:
                raise SettingsError(f"{name} is for texts that are cut up: give --parallel, too")

    @property
    def alone(self) -> bool:
        """Whether a single text is read from its beginning to its end."""
        return len(self.files) == 1 and not self.parallel


def run(out: IO[str], model: Model, job: Job) -> int:
    """Score the files and write what was found; how many of several could not be scored.

    What is wrong with one of several files is a line on stderr, and the others are scored.

    Raises:
        CharlmError: what is wrong with the only file, with the model, or with a setting.
    """
    failures, found = 0, []
    listed: list[dict[str, Any]] = []
    with progress_of(job.files) as advance:
        texts = [Text(str(path), read_file(path, job.encoding, advance)) for path in job.files]
        for index, result in _in_order(_outcomes(model, texts, job)):
            name = texts[index].name
            if isinstance(result, CharlmError):
                if len(texts) == 1:
                    raise result
                console.say(f"charlm-score: {result}")
                failures += 1
                listed.append({"file": name, "error": str(result)})
                continue
            found.append(result)
            listed.append({"file": name, **_fields(result)})
            if not job.as_json:
                out.write(_line(name, result) + "\n")
                out.flush()
    total = reduce(add, found) if found else None
    if job.as_json:
        fields = {"files": listed, "total": _fields(total) if total else None}
        out.write(json.dumps(fields) + "\n")
    elif total and len(found) > 1:
        out.write(_line(f"total of {len(found)} files" if failures else "total", total) + "\n")
    return failures


def _outcomes(model: Model, texts: Sequence[Text], job: Job) -> Iterator[Outcome]:
    """The outcome of each text, as they are finished."""
    workers = job.threads if model.device == "cpu" else 1  # one thread keeps a GPU busy
    if job.parallel:
        warm_up = WARM_UP if job.warm_up is None else job.warm_up
        segments = SegmentScorer(
            model, job.unknown, job.precision,
            workers=workers, segments=job.segments, warm_up=warm_up,
        )  # fmt: skip
        return _one_by_one(segments, texts)
    if job.alone:
        return _one_by_one(Scorer(model, job.unknown, job.precision, model.threads), texts)
    workers = min(workers, len(texts))
    width = min(WIDTHS[model.device], -(-len(texts) // workers))
    many = score_many(
        model, texts, unknown=job.unknown, precision=job.precision, workers=workers, width=width
    )
    return ((scored.index, scored.result) for scored in many)


def _one_by_one(scorer: Scorer | SegmentScorer, texts: Iterable[Text]) -> Iterator[Outcome]:
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


def _line(name: str, found: Found) -> str:
    score = found.score if isinstance(found, SegmentedScore) else found
    line = (
        f"{name}: {score.bits_per_character:.4f} bits/char, "
        f"perplexity {score.perplexity:.3f}, {score.characters:,} characters"
    )
    if isinstance(found, SegmentedScore):
        line += f"; {_described(found)}"
    return line


def _described(found: SegmentedScore) -> str:
    """What cutting the text up has done to its score."""
    if found.borders == 0:
        return "too short to be cut, exact"
    error = f" ± {found.difference_error:.1g}" if found.difference_error else ""
    return (
        f"{found.segments} segments, warmed up on {found.warm_up} characters: "
        f"{found.difference:+.2g}{error} bits/char from the exact figure, "
        f"measured at {len(found.excess)} of {found.borders} borders"
    )


def _fields(found: Found) -> dict[str, float | int | bool]:
    if isinstance(found, SegmentedScore):
        return {
            **_fields(found.score),
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
    }
