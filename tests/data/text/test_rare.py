"""Which characters of a corpus are rare, and what becomes of them."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.data.system.errors import CorpusError, SettingsError
from charlm.data.text.corpus import Corpus, read_corpus
from charlm.data.text.limit import Alphabet, limit
from charlm.data.text.normalise import Normalisation
from charlm.data.text.rare import (
    ALPHABETS,
    MAX_VOCABULARY,
    MIN_COUNT,
    NOTHING_RARE,
    REPLACEMENT,
    Rare,
    RareSettings,
)
from charlm.data.text.vocabulary import Vocabulary, code_points

KEEP = Normalisation(nfc=False)
Read = Callable[..., Corpus]


def counts_of(text: str) -> np.ndarray:
    return np.bincount(code_points(text), minlength=0x110000)


def limited(learnt: str, held_out: str, wanted: RareSettings) -> Alphabet:
    return limit(counts_of(learnt + held_out), lambda: counts_of(learnt), wanted, "t.txt")


def characters(found: Alphabet) -> str:
    return "".join(found.vocabulary.characters)


def ideographs(count: int, start: int = 0) -> str:
    return "".join(chr(0x4E00 + start + index) for index in range(count))


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(text: str, learnt: int = 90, rules: Normalisation = KEEP, **wanted: object) -> Corpus:
        (tmp_path / "t.txt").write_text(text, encoding="utf-8", newline="\n")
        asked = RareSettings(**wanted)  # type: ignore[arg-type]
        return read_corpus([tmp_path / "t.txt"], rules, wanted=asked, learnt=learnt)

    return read


def text_of(found: Corpus) -> str:
    return found.vocabulary.decode(found.ids)


# What is rare


def test_nothing_of_an_alphabet_is_rare_even_what_was_never_learnt() -> None:
    def never_counted() -> np.ndarray:
        raise AssertionError("the text need not be read once more")

    text = ideographs(ALPHABETS)
    found = limit(counts_of(text), never_counted, RareSettings(), "t.txt")
    assert found.vocabulary == Vocabulary(text)
    assert found.rare == Rare(max_vocabulary=MAX_VOCABULARY)
    assert found.rare.unknown == "error"
    larger = ideographs(ALPHABETS + 1) * MIN_COUNT
    assert limited(larger, "", RareSettings()).rare == replace(found.rare, min_count=MIN_COUNT)
    assert found.rare.described(ALPHABETS) == found.rare.counted() == ""


def test_of_more_than_an_alphabet_what_is_seldom_learnt_is_replaced() -> None:
    often, seldom = ideographs(ALPHABETS), "αβ"
    learnt = often * MIN_COUNT + seldom * (MIN_COUNT - 1)
    found = limited(learnt, "αω" + often[:2], RareSettings())
    assert characters(found) == "".join(sorted(often + REPLACEMENT))
    assert found.rare == Rare(
        "replace", REPLACEMENT, MIN_COUNT, MAX_VOCABULARY, characters=3,
        share=round(4 / len(learnt), 6), held_out_share=0.5,
    )  # fmt: skip
    assert found.rare.described(len(found.vocabulary)) == (
        "3 characters are rare (fewer than 3 in the part that is learnt from), 0.26% of what is "
        "learnt from and 50.00% of the rest: each becomes '\ufffd' (U+FFFD)"
    )


def test_the_most_frequent_are_kept_and_the_lowest_of_equals() -> None:
    learnt = "aaaa" + "ddd" + "ccbb" + "ee" + "f"
    assert characters(limited(learnt, "ffff", RareSettings("drop", 0, 4))) == "abcd"
    kept = limited(learnt, "ffff", RareSettings("replace", 0, 4))
    assert characters(kept) == f"abd{REPLACEMENT}", "the replacement takes a place"
    assert kept.rare.characters == 3
    assert "not of the 4 most frequent there" in kept.rare.described(4)
    assert characters(limited(learnt, "", RareSettings("drop", 3, 4))) == "ad"


@pytest.mark.parametrize("rare", ["_", "c", "b"])
def test_a_replacement_may_be_new_or_rare_or_frequent_itself(rare: str) -> None:
    found = limited("aaabbbccd", "", RareSettings(rare, 3))
    assert characters(found) == "".join(sorted({"a", "b", rare}))
    assert found.rare.replacement == found.rare.unknown == rare
    assert found.rare.characters == (1 if rare == "c" else 2)


def test_what_is_asked_for_holds_where_nothing_is_rare() -> None:
    dropping = limited("aabb", "", RareSettings("drop"))
    assert (characters(dropping), dropping.rare.unknown) == ("ab", "drop")
    replacing = limited("aabb", "", RareSettings("replace"))
    assert (characters(replacing), replacing.rare.unknown) == (f"ab{REPLACEMENT}", REPLACEMENT)
    said = "no character of the text is rare; one that the model lacks becomes"
    assert replacing.rare.described(3) == f"{said} '\ufffd' (U+FFFD)"
    assert replacing.rare.counted() == ""


def test_rare_characters_can_be_an_error_that_names_them() -> None:
    with pytest.raises(CorpusError) as caught:
        limited("aaabbb" + "cdddefghij", "cccii", RareSettings("error", 3, 0))
    assert str(caught.value) == (
        "t.txt: 'c' (U+0063), 'i' (U+0069), 'e' (U+0065), 'f' (U+0066), 'g' (U+0067) and 2 more "
        "characters are rare (fewer than 3 in the part that is learnt from); choose another "
        "`rare`, a lower `min_count` or a higher `max_vocabulary`"
    )
    with pytest.raises(CorpusError, match=r"'c' \(U\+0063\) is rare \(not of the 2 most"):
        limited("aaabbbc", "", RareSettings("error", 0, 2))
    assert limited("aabb", "b", RareSettings("error", 2, 0)).rare == Rare(min_count=2)


@settings(max_examples=40)  # each counts all of Unicode several times
@given(
    text=st.text("abcdefgh", min_size=2, max_size=60),
    least=st.integers(0, 4),
    most=st.integers(2, 9) | st.just(0),
    policy=st.sampled_from(["drop", "replace"]),
)
def test_what_is_kept_is_what_a_plain_count_keeps(
    text: str, least: int, most: int, policy: str
) -> None:
    cut = len(text) * 9 // 10
    counted = Counter(text[:cut])
    places = most or 99
    if policy == "replace":
        places -= 1
    enough = [each for each in sorted(set(text)) if counted[each] >= least]
    kept = sorted(enough, key=lambda each: -counted[each])[:places]
    wanted = RareSettings(policy, least, most)
    if len(kept) + (policy == "replace") < 2:
        with pytest.raises(CorpusError, match=r"t.txt: all characters are rare \("):
            limited(text[:cut], text[cut:], wanted)
        return
    found = limited(text[:cut], text[cut:], wanted)
    assert set(found.vocabulary.characters) - {REPLACEMENT} == set(kept)
    assert found.rare.characters == len(set(text) - set(kept))
    known = Alphabet(found.vocabulary, found.rare).covering(counts_of(text), "t.txt")
    assert known.vocabulary == found.vocabulary
    assert known.rare.characters == found.rare.characters, "the same are rare again"


def test_what_a_model_knows_already_is_never_rare() -> None:
    text = ideographs(ALPHABETS) * MIN_COUNT + "αβ"
    found = limit(
        counts_of(text), lambda: counts_of(text), RareSettings(), "t.txt", [ord("β"), ord("γ")]
    )
    assert set(found.vocabulary.characters) == {*text, REPLACEMENT} - {"α"}
    assert found.rare.characters == 1
    few = RareSettings("replace", max_vocabulary=3)
    found = limit(counts_of("aaabbbcd"), lambda: counts_of("aaabbbcd"), few, "t.txt", [ord("d")])
    assert characters(found) == f"abd{REPLACEMENT}"
    assert "(not of the 3 most frequent there)" in found.rare.described(4)


def test_a_known_vocabulary_is_kept_whatever_the_text_has(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("abxa")
    vocabulary = Vocabulary("abc?")
    replaced = read_corpus([path], KEEP, alphabet=Alphabet(vocabulary, Rare("replace", "?")))
    assert text_of(replaced) == "ab?a"
    assert (replaced.rare.characters, replaced.rare.share) == (1, 0.25)
    assert replaced.rare.described(4).startswith(
        "1 characters are rare (the model lacks them), 25.00%"
    )
    assert text_of(read_corpus([path], KEEP, alphabet=Alphabet(vocabulary, Rare("drop")))) == "aba"
    with pytest.raises(CorpusError, match=r"'x' \(U\+0078\) is outside .* `init_from`"):
        read_corpus([path], KEEP, alphabet=Alphabet(vocabulary, NOTHING_RARE))


# A corpus


def test_rare_characters_are_replaced_or_left_out(read: Read) -> None:
    text = "aab?abab!aaabbb#bb#ab"
    found = read(text, min_count=2, rare="replace")
    assert text_of(found) == "aab\ufffdabab\ufffdaaabbb\ufffdbb\ufffdab"
    assert found.rare.characters == 3, "# occurs twice, but once in the first 18 characters"
    found = read(text, min_count=2, rare="drop")
    assert text_of(found) == "aabababaaabbbbbab"
    assert found.ids.tolist() == [ord(each) - ord("a") for each in text_of(found)]


def test_a_final_run_counts_in_what_it_learns_from(read: Read) -> None:
    text = "ab" * 9 + "xb"  # the last tenth begins before the x, the last twentieth after it
    assert "x" not in read(text, min_count=1, rare="drop").vocabulary.characters
    assert "x" in read(text, min_count=1, rare="drop", learnt=95).vocabulary.characters


def test_the_text_is_normalised_before_characters_are_counted(read: Read) -> None:
    rules = Normalisation(case="lower", newlines="drop")
    found = read("Aa\nBb\nEe\u0301é\n" * 4, rules=rules, min_count=6, rare="drop")
    assert found.vocabulary == Vocabulary("abé")
    assert text_of(found) == "aabbéé" * 4


@pytest.mark.parametrize(
    ("rules", "rare", "becomes"),
    [
        (Normalisation(newlines="drop"), "\n", "''"),
        (Normalisation(case="lower"), "X", "'x'"),
        (Normalisation(), "\u212b", "'Å'"),
    ],
)
def test_a_replacement_that_would_be_normalised_away_is_refused(
    read: Read, rules: Normalisation, rare: str, becomes: str
) -> None:
    with pytest.raises(SettingsError, match=f"which would make {becomes} of it"):
        read("some text", rules=rules, rare=rare)


# What a user says


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"rare": ""}, "`rare` is error, drop, replace, or the one character to put there, not ''"),
        ({"rare": "??"}, "not '??'"),
        ({"rare": "Drop"}, "not 'Drop'"),
        ({"min_count": -1}, "`min_count` is at least 0, not -1"),
        ({"max_vocabulary": 1}, "`max_vocabulary` is at least 2, or 0 for any number, not 1"),
        ({"max_vocabulary": -5}, "not -5"),
    ],
)
def test_values_out_of_range(wanted: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        RareSettings(**wanted)  # type: ignore[arg-type]
    assert words in str(caught.value)


def test_what_differs_from_before_is_named() -> None:
    before = Rare("replace", REPLACEMENT, 5, 8192)
    for same in (RareSettings(), RareSettings("replace", 5), RareSettings(REPLACEMENT)):
        assert same.difference(before) == ""
    assert RareSettings("drop", 4, 0).difference(before) == (
        "`rare` \ufffd, not drop; `min_count` 5, not 4; `max_vocabulary` 8192, not 0"
    )
    assert RareSettings("replace").difference(NOTHING_RARE) == "`rare` error, not \ufffd"


# The record


def test_the_record_reads_back() -> None:
    for rare in (NOTHING_RARE, Rare("drop", None, 3, 100, 7, 0.25), Rare("replace", "?", 5)):
        assert Rare.from_dict(json.loads(json.dumps(rare.as_dict()))) == rare
        assert Rare.from_dict(rare.as_dict() | {"of a later version": 1}) == rare


@pytest.mark.parametrize(
    "values",
    [
        {"policy": "guess"},
        {"policy": "replace"},
        {"policy": "drop", "replacement": "?"},
        {"policy": "replace", "replacement": "??"},
        {"policy": "replace", "replacement": 5},
    ],
)
def test_a_record_that_says_nothing_clear_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="rare: "):
        Rare.from_dict(values)
