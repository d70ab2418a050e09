"""What each precision costs in quality: bits per character of a held-out text.

`python -m charlm.benchmarks.bits SETTINGS TEXT CHARACTERS` scores the start of a text with the
precision of the settings, in a process of its own, and prints what came of it as JSON.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from charlm.benchmarks.harness import apart
from charlm.benchmarks.harness.settings import CaseFailedError, CaseSettings
from charlm.benchmarks.report.results import QualityResult, significant
from charlm.infer.model.providers import ONLY_ON

DIGITS = 6


def measure(
    precisions: Iterable[str], settings: CaseSettings, text: Path, characters: int
) -> tuple[QualityResult, ...]:
    """Score a text at each precision.

    Args:
        precisions: which.
        settings: of the run.
        text: the file.
        characters: how many of it at most.
    """
    return tuple(
        _measure(
            replace(settings, precision=each, provider=ONLY_ON.get(each, settings.provider)),
            text,
            characters,
        )
        for each in precisions
    )


def score(settings: CaseSettings, text: Path, characters: int) -> QualityResult:
    """Score the start of a text, in this process.

    Characters that the model does not know are left out.

    Raises:
        CharlmError: the text can't be read, or there is no such precision.
    """
    from charlm.benchmarks.cases.charlm_open import model_of
    from charlm.data.text.corpus import read_files
    from charlm.infer.scoring.score import Scorer

    scorer = Scorer(model_of(settings), "drop", settings.precision)
    found = scorer.score(_first(read_files([text]), characters), text.name)
    bits = significant(found.bits_per_character, DIGITS)
    return QualityResult(settings.precision, bits, found.characters, text.name)


def _measure(settings: CaseSettings, text: Path, characters: int) -> QualityResult:
    try:
        found = apart.ask("bits", settings.to_json(), text, characters, threads=settings.threads)
    except CaseFailedError as problem:
        return QualityResult(settings.precision, text=text.name, skipped=str(problem))
    return QualityResult(**found)


def _first(chunks: Iterable[str], characters: int) -> Iterator[str]:
    for chunk in chunks:
        if characters <= 0:
            return
        yield chunk[:characters]
        characters -= len(chunk)


def main(settings: str, text: str, characters: str) -> int:
    """Score, and print what came of it; the exit code."""
    told = CaseSettings.from_json(settings)
    return apart.answer(lambda: asdict(score(told, Path(text), int(characters))))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
