"""Scoring files and writing what was found, as lines or as JSON."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import chain
from operator import add
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from charlm.data.system import console
from charlm.data.system.errors import CharlmError, SettingsError, as_options
from charlm.data.text.vocabulary import Unknown
from charlm.infer.batch.results import in_order
from charlm.infer.engines.planning import WORTH_CUDA_STREAMS, Work
from charlm.infer.model.open import Model
from charlm.infer.request import check_window
from charlm.infer.scoring import many
from charlm.infer.scoring.many import Scored, Text
from charlm.infer.scoring.reading import STANDARD_INPUT, progress_of, read_file, size_of
from charlm.infer.scoring.score import Score, Scorer

if TYPE_CHECKING:
    from charlm.infer.scoring.views import Views


@dataclass(frozen=True)
class ScoringJob:
    """What to score, and how.

    Attributes:
        unknown: what becomes of characters that the model does not know; None: as with its corpus.
        warm_up: characters that each segment reads before its own; None: as measured.
        window: judge each character after exactly so many; None: after all before it.
        views: ways of looking at the text, if it is one; None: its figures are enough.
    """

    files: Sequence[Path]  # at least one; `-` is standard input
    encoding: str = "utf-8"  # of the files
    unknown: Unknown | None = None
    precision: str = "float32"  # of the graph that reads them
    threads: int = 1  # how many may run side by side
    parallel: bool = False  # cut each text into segments
    segments: int | None = None  # how many side by side at most; None: as many as are fast
    warm_up: int | None = None
    as_json: bool = False  # write one JSON object instead of lines
    window: int | None = None
    views: "Views | None" = None

    def __post_init__(self) -> None:
        for name, value in (("`segments`", self.segments), ("`warm_up`", self.warm_up)):
            if value is not None and not self.parallel:
                raise SettingsError(f"{name} is for texts that are cut up: give `parallel`, too")
        models = [path for path in self.files if path.suffix == ".onnx"]
        if models:
            raise SettingsError(f"{models[0]} is a model and no text: give it with `model`")
        check_window(self.window)
        if self.window is not None and self.parallel:
            raise SettingsError(
                "`window` scores side by side as it is, exactly: leave `parallel` out"
            )
        if self.views:
            self._check_views(self.views)

    def _check_views(self, views: "Views") -> None:
        asked = "`show`, `html` and `tokens`"
        if len(self.files) > 1:
            raise SettingsError(f"{asked} are for one text: name one file")
        if not self.alone or self.precision != "float32":
            raise SettingsError(
                f"{asked} need the distribution at each character, read in order in float32: leave "
                "out `parallel`, `window` and `precision`"
            )
        if views.show and self.as_json:
            raise SettingsError("`show` prints the text and `json` an object: leave one out")
        for name, path in (("html", views.html), ("tokens", views.tokens)):
            if path is not None and _is_same(self.files[0], path):
                raise SettingsError(f"`{name}` {path} would replace the text: choose another name")

    @property
    def alone(self) -> bool:
        """Whether a single text is read from its beginning to its end."""
        return len(self.files) == 1 and not self.parallel and self.window is None


def _is_same(text: Path, path: Path) -> bool:
    source = 0 if text == STANDARD_INPUT else text
    try:
        return os.path.samefile(source, path)  # noqa: PTH121 - a path has no descriptors
    except OSError:  # one of them is not there
        return False


def work_of(job: ScoringJob) -> Work:
    """What is to be scored, as work: a character a byte, several streams in each text if cut.

    What is no file, such as a pipe, counts as without end, and so does what can't be looked at:
    whoever reads it says what is wrong.
    """
    sizes = [size_of(path) for path in job.files]
    cut = job.parallel or job.window is not None
    streams = WORTH_CUDA_STREAMS if cut else len(job.files)
    return Work(streams, sum(sizes) // streams if all(sizes) else 0)


def run(out: IO[str], model: Model, job: ScoringJob, about: str) -> int:
    """Score the files and write what was found; how many of several could not be scored.

    What is wrong with one of several files is a line on stderr, and the others are scored. What is
    found before an error of the model or Ctrl-C is written, too.

    Args:
        about: a line for standard error, before the first text is judged.

    Raises:
        CharlmError: what is wrong with the only file, with the model, or with a setting.
    """
    writer = _Writer(out, job.as_json)
    watched = () if job.views and job.views.show else job.files  # a text on its way shows how far
    try:
        with progress_of(watched) as bar:
            texts = [Text(str(path), read_file(path, job.encoding, bar.advance))
                     for path in job.files]  # fmt: skip
            if len(texts) == 1:
                texts = [_begun(texts[0])]
            outcomes = in_order(_scored(model, texts, job, out))
            with bar.cleared():
                console.say(about)
            for scored in outcomes:
                result = scored.result
                if isinstance(result, CharlmError) and len(texts) == 1:
                    raise result
                with bar.cleared():
                    if isinstance(result, CharlmError):
                        console.say(f"charlm-score: {as_options(str(result))}")
                    writer.take(texts[scored.index].name, result)
    except (Exception, KeyboardInterrupt):
        writer.end(whole=False)
        raise
    writer.end(whole=True)
    return writer.failures


def _begun(text: Text) -> Text:
    """The same text, its first chunk read: that it can't be read is then all that is said."""
    chunks = iter(text.chunks)
    return replace(text, chunks=chain([next(chunks)], chunks))


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
            self._listed.append({"file": name, "error": as_options(str(result))})
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
        # The name of a file may hold what the output can't: that is no reason to lose the scores.
        encoding = getattr(self._out, "encoding", None) or "utf-8"
        self._out.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        self._out.flush()


def _scored(model: Model, texts: Sequence[Text], job: ScoringJob, out: IO[str]) -> Iterator[Scored]:
    """What became of each text, as they are finished."""
    workers = job.threads if model.device == "cpu" else many.WORKERS_OF_GPU
    if not (job.parallel or job.window is not None or job.alone):
        workers = min(workers, len(texts))
        width = min(many.WIDTHS[model.device], -(-len(texts) // workers))
        return many.score_many(
            model, texts, unknown=job.unknown, precision=job.precision, workers=workers, width=width
        )
    return _one_by_one(_scorer(model, job, workers, out), texts)


ScoreOne = Callable[[Iterable[str], str], Score]


def _scorer(model: Model, job: ScoringJob, workers: int, out: IO[str]) -> ScoreOne:
    """What scores the texts of a job one after another."""
    if job.views:
        from charlm.infer.scoring.predictions import score_with_looks

        looks = partial(job.views.opened, out, model)
        return partial(score_with_looks, model, job.unknown, looks)
    if job.parallel:
        from charlm.infer.scoring.segments import SegmentScorer

        return SegmentScorer(
            model, job.unknown, job.precision,
            workers=workers, segments=job.segments, warm_up=job.warm_up,
        ).score  # fmt: skip
    if job.window is not None:
        from charlm.infer.scoring.windows import WindowScorer

        return WindowScorer(model, job.window, job.unknown, job.precision, workers=workers).score
    shared = model.uses_native(job.precision) and model.shares_steps(job.precision)
    return Scorer(model, job.unknown, job.precision, job.threads if shared else model.threads).score


def _one_by_one(score: ScoreOne, texts: Iterable[Text]) -> Iterator[Scored]:
    for index, text in enumerate(texts):
        try:
            yield Scored(index, score(text.chunks, text.name))
        except many.TEXT_ERRORS as problem:
            yield Scored(index, problem)
