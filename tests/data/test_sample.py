import pytest

from charlm.data.text.corpus import SAMPLE, read_corpus
from charlm.data.text.normalise import NOTEBOOK, Normalisation

LONGEST_REPEAT = 59  # characters


@pytest.fixture(scope="module")
def sample() -> str:
    return SAMPLE.read_bytes().decode("ascii")  # plain letters: nothing that needs a rule


def test_the_sample_is_long_enough_to_learn_from(sample: str) -> None:
    assert len(sample) >= 60_000
    assert "\r" not in sample
    assert "\t" not in sample


@pytest.mark.parametrize(
    "rules",
    [Normalisation(), NOTEBOOK, Normalisation(case="lower", newlines="space")],
    ids=["as it is", "notebook", "newlines as spaces"],
)
def test_nothing_of_60_characters_occurs_twice(sample: str, rules: Normalisation) -> None:
    text = rules(sample)
    seen: set[str] = set()
    for start in range(len(text) - LONGEST_REPEAT):
        window = text[start : start + LONGEST_REPEAT + 1]
        assert window not in seen, window
        seen.add(window)
    assert len(seen) > 60_000


def test_the_sample_is_a_corpus(sample: str) -> None:
    corpus = read_corpus([SAMPLE], Normalisation())
    assert corpus.vocabulary.decode(corpus.ids) == sample
