"""The n-gram baseline against a plain reference, and as a distribution; and compressors."""

import bz2
from collections import Counter

import numpy as np
import pytest

from charlm.train.report import baselines
from charlm.train.report.baselines import COMPRESSORS, NgramModels, compress

TEXT = "the cat sat on the mat; the rat sat on the cat and the cat ran at the rat in the hat. " * 3
CHARACTERS = sorted(set(TEXT + "xyz"))
ORDER = 4


def encode(text: str) -> np.ndarray:
    return np.array([CHARACTERS.index(character) for character in text], dtype=np.uint8)


class Plain:
    """Interpolated modified Kneser-Ney by the book, with dictionaries and recursion."""

    def __init__(self, text: str, characters: int) -> None:
        self.text, self.characters = text, characters

    def grams(self, n: int) -> list[str]:
        return [self.text[i : i + n] for i in range(len(self.text) - n + 1)]

    def counts(self, n: int, highest: bool) -> Counter[str]:
        if highest:
            return Counter(self.grams(n))
        return Counter(gram[1:] for gram in set(self.grams(n + 1)))

    def discount(self, counts: Counter[str], count: int) -> float:
        n = [sum(1 for value in counts.values() if value == k) for k in range(5)]
        if not all(n[1:]):
            return min(0.5, count)
        y = n[1] / (n[1] + 2 * n[2])
        found = [0, 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
        k = min(count, 3)
        return float(np.clip(found[k], 0.05 if k else 0, k - 0.05 if k else 0))

    def p(self, character: str, context: str, highest: bool = True) -> float:
        n = len(context) + 1
        counts = self.counts(n, highest)
        below = self.p(character, context[1:], False) if context else 1 / self.characters
        after = {gram: count for gram, count in counts.items() if gram[:-1] == context}
        if not after:
            return below
        own = counts[context + character]
        kept = own - self.discount(counts, own) if own else 0
        reserved = sum(self.discount(counts, count) for count in after.values())
        return (kept + reserved * below) / sum(after.values())


def test_it_is_the_reference() -> None:
    models = NgramModels(encode(TEXT), len(CHARACTERS), ORDER)
    plain = Plain(TEXT, len(CHARACTERS))
    asked = "a rat and xa cat sat; the zat"
    for order, found in enumerate(models.probabilities(encode(asked)), start=1):
        expected = [
            plain.p(asked[i], asked[max(0, i - order + 1) : i], order == min(order, i + 1))
            for i in range(order - 1 or 1, len(asked))
        ]
        assert found[max(order - 2, 0) :] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("context", ["t", "the", "the c", "xyz", "zthe", " sat o"])
def test_probabilities_sum_to_one(context: str) -> None:
    models = NgramModels(encode(TEXT), len(CHARACTERS), ORDER)
    sums = np.zeros(ORDER)
    for character in CHARACTERS:
        sums += [each[-1] for each in models.probabilities(encode(context + character))]
    assert sums == pytest.approx(1, abs=1e-12)


def test_a_short_beginning_takes_the_context_that_there_is() -> None:
    models = NgramModels(encode(TEXT), len(CHARACTERS), ORDER)
    found = models.probabilities(encode("the"))
    lower = [each[0] for each in found[2:]]
    assert lower[0] == lower[1]  # order 4 has no more than one character to go by either
    assert all(len(each) == 2 for each in found)


def test_what_was_learnt_costs_less_with_every_order() -> None:
    models = NgramModels(encode(TEXT), len(CHARACTERS), ORDER)
    bits = models.bits_per_character(encode(TEXT))
    assert list(bits) == sorted(bits, reverse=True)
    assert bits[0] > 3
    assert bits[-1] < 1.2


def test_a_large_vocabulary_overflows_nothing() -> None:
    random = np.random.default_rng(0)
    ids = random.integers(0, 60_000, 3000).astype(np.uint16)
    models = NgramModels(ids, 60_000, 6)
    assert (models.orders[-1].keys >= 0).all()
    found = models.probabilities(ids)
    assert all(((each > 0) & (each <= 1)).all() for each in found)


LEARNT = "".join(f"the {n * n} lamps went out one by one; " for n in range(400))


def test_what_came_before_helps() -> None:
    held_out = "the 144 lamps went out one by one; é" * 3
    found = {each.name: each for each in compress(LEARNT, held_out)}
    assert list(found) == list(COMPRESSORS)
    assert found["gzip -9"].after < found["gzip -9"].alone
    assert found["xz -9e"].after < found["xz -9e"].alone
    assert found["bz2 -9"].alone == pytest.approx(
        8 * len(bz2.compress(held_out.encode(), 9)) / len(held_out)
    )


def test_no_text_takes_less_than_nothing() -> None:
    line = "the quick brown fox jumps over the lazy dog.\n"
    for lines in range(40, 70):
        found = compress(line * lines, line * 5)
        assert all(each.after >= 0 for each in found), lines


def test_a_block_that_ends_costs_the_held_out_text_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """bz2 begins anew with each 900 KB: a text that lies across would know nothing before it."""
    monkeypatch.setattr(baselines, "COMPRESSORS", {"bz2 -9": COMPRESSORS["bz2 -9"]})
    words = np.array([f"w{n * n}" for n in range(3000)])
    text = " ".join(words[np.random.default_rng(0).zipf(1.3, 200_000) % 3000])
    learnt, held_out = text[:890_000], text[890_000:920_000]
    (found,) = compress(learnt, held_out)
    early, late = text[:300_000], text[300_000:330_000]
    (usual,) = compress(early, late)
    naive = len(bz2.compress((learnt + held_out).encode())) - len(bz2.compress(learnt.encode()))
    assert found.after < usual.after < 8 * naive / len(held_out)
