"""The corpus that ships."""

import pytest

from charlm.data.text.corpus import SAMPLE
from charlm.data.text.normalise import NOTEBOOK, Normalisation

REPEATED = 60  # characters


@pytest.mark.parametrize("rules", [Normalisation(), NOTEBOOK], ids=["as it is", "notebook"])
def test_it_is_long_and_plain_and_says_nothing_twice(rules: Normalisation) -> None:
    text = SAMPLE.read_bytes().decode("ascii")  # plain letters: nothing that needs a rule
    assert not set(text) & {"\r", "\t"}
    text = rules(text)
    pieces = [text[start : start + REPEATED] for start in range(len(text) - REPEATED + 1)]
    assert len(set(pieces)) == len(pieces) > 60_000
