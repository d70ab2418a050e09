"""Which character each output of an imported model stands for: from its corpus, or from a list."""

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import CharlmError, VocabularyError
from charlm.data.system.files import os_errors_as
from charlm.data.text.corpus import Corpus, read_corpus
from charlm.data.text.normalise import CASES, NEWLINES, Normalisation
from charlm.data.text.rare import RareSettings
from charlm.data.text.vocabulary import Vocabulary

MAX_LIST_BYTES = 1 << 26  # a list of all of Unicode is smaller
EVERY = RareSettings(min_count=0, max_vocabulary=0)  # a notebook has no rare characters
MAX_TRIED_BYTES = 1 << 26  # of a corpus that is read again to find what was done to it


class ModelCharacters(NamedTuple):
    """An imported model's characters."""

    vocabulary: Vocabulary  # in our order
    order: npt.NDArray[np.int64]  # the model's own token id of each of ours, shape [vocabulary]


def of_corpus(
    corpus: Corpus, outputs: int, files: Sequence[Path], encoding: str
) -> ModelCharacters:
    """The sorted characters of a corpus, as the notebook numbers them.

    Args:
        corpus: the text that the model was trained on, normalised as it was then.
        outputs: characters that the model predicts.
        files: of the corpus, for the message.
        encoding: of the files.

    Raises:
        VocabularyError: the corpus has another number of characters; the message says which
            normalisation would give the right one, if one does.
    """
    if len(corpus.vocabulary) != outputs:
        raise VocabularyError(_mismatch(corpus, outputs, files, encoding))
    return ModelCharacters(corpus.vocabulary, np.arange(outputs))


def of_list(path: Path, outputs: int, normalisation: Normalisation) -> ModelCharacters:
    """The characters of a JSON list, in the order of the model's own ids.

    Raises:
        VocabularyError: no such list, of another length, or with a character that the
            normalisation never leaves in a text.
    """
    characters = _read_list(path)
    if len(characters) != outputs:
        raise VocabularyError(
            f"{path}: {len(characters):,} characters, and the model predicts {outputs:,}: "
            "give the list that it was trained with"
        )
    vocabulary = Vocabulary(characters)
    if len(vocabulary) != len(characters):
        twice = next(c for index, c in enumerate(characters) if c in characters[:index])
        raise VocabularyError(f"{path}: {twice!r} is in the list twice")
    changed = [c for c in characters if normalisation(c) != c]
    if changed:
        raise VocabularyError(
            f"{path}: {changed[0]!r} is in the list, but no text has it after normalisation "
            f"(case: {normalisation.case}, newlines: {normalisation.newlines}, "
            f"NFC: {'yes' if normalisation.nfc else 'no'}): say what was done to the text that "
            "the model learnt from, with `case`, `newlines` and `nfc`"
        )
    listed = {character: index for index, character in enumerate(characters)}
    return ModelCharacters(vocabulary, np.array([listed[c] for c in vocabulary.characters]))


def check_covers(characters: ModelCharacters, corpus: Corpus, where: Path) -> None:
    """A corpus beside a list may have no other characters.

    Raises:
        VocabularyError: it has one, which is named.
    """
    lacking = np.flatnonzero(corpus.vocabulary.places_in(characters.vocabulary) < 0)
    if len(lacking):
        character = corpus.vocabulary.characters[lacking[0]]
        raise VocabularyError(
            f"{where}: has {character!r} (U+{ord(character):04X}), which is not in the list of "
            "`vocabulary`: give the corpus that the model was trained on, normalised as it was "
            "then (`case`, `newlines`, `nfc`)"
        )


def _read_list(path: Path) -> list[str]:
    with os_errors_as(VocabularyError, f"can't read {path}"), path.open("rb") as file:
        content = file.read(MAX_LIST_BYTES + 1)
    if len(content) > MAX_LIST_BYTES:
        raise VocabularyError(f"{path}: larger than {MAX_LIST_BYTES >> 20} MiB: no list")
    try:
        listed = json.loads(content)
    except (ValueError, RecursionError) as problem:
        raise VocabularyError(f"{path}: not JSON ({str(problem)[:100]}); {_WANTED}") from problem
    if not isinstance(listed, list) or not all(isinstance(c, str) for c in listed):
        raise VocabularyError(f"{path}: not a list of characters; {_WANTED}")
    return listed


_WANTED = 'wanted is a JSON list such as [" ", "a", "b"], where a character\'s place is its id'


def _mismatch(corpus: Corpus, outputs: int, files: Sequence[Path], encoding: str) -> str:
    tried = corpus.normalisation
    every = []
    if sum(path.stat().st_size for path in files) <= MAX_TRIED_BYTES:
        choices = product((tried.nfc, not tried.nfc), CASES, NEWLINES)
        every = [tried.but(nfc=n, case=c, newlines=e) for n, c, e in choices]
    fitting = [each for each in every if each != tried and _size(each, files, encoding) == outputs]
    fix = (
        f"try {_options(fitting[0])}"
        if fitting
        else "give the very text that it was trained on, or its characters with `vocabulary`"
    )
    return (
        f"{files[0]}: {len(corpus.vocabulary)} distinct characters with {_options(tried)}, and the "
        f"model predicts {outputs}: {fix}"
    )


def _size(normalisation: Normalisation, files: Sequence[Path], encoding: str) -> int:
    try:
        return len(read_corpus(files, normalisation, encoding, EVERY).vocabulary)
    except CharlmError:
        return 0


def _options(normalisation: Normalisation) -> str:
    nfc = "--nfc" if normalisation.nfc else "--no-nfc"
    return f"--case {normalisation.case} --newlines {normalisation.newlines} {nfc}"
