"""Rules for a text: the same for its parts as for the whole, and once and for all."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.data.system.errors import SettingsError
from charlm.data.text.normalise import CASES, NEWLINES, NOTEBOOK, Normalisation

EVERY = [
    Normalisation.from_dict({"case": case, "nfc": nfc, "newlines": newlines})
    for case in CASES
    for nfc in (True, False)
    for newlines in NEWLINES
]
# What normalisation can trip over: accents that compose, sigmas, characters that grow when they
# are lower-cased, Hangul that composes from parts, and what lies between words.
WORDS = "eAΣΑ'’ \n\u0301\u00ad漢0"
TRICKY = WORDS + "σς:.\u0323\u0345\u200d\u212b\u0130가\u1100\u1161\u11a8字Z"
texts = st.text(st.sampled_from(TRICKY) | st.characters(exclude_categories=["Cs"]), max_size=30)
tricky_texts = st.text(st.sampled_from(WORDS), max_size=8)


@st.composite
def chunked(draw: st.DrawFn) -> list[str]:
    text = draw(texts | tricky_texts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@settings(max_examples=300)
@given(chunks=chunked(), rules=st.sampled_from(EVERY))
def test_a_stream_equals_the_whole_in_any_chunks(chunks: list[str], rules: Normalisation) -> None:
    assert "".join(rules.stream(chunks)) == rules("".join(chunks))


@given(text=texts | tricky_texts, rules=st.sampled_from(EVERY))
def test_normalising_twice_changes_nothing(text: str, rules: Normalisation) -> None:
    assert rules(rules(text)) == rules(text)


def test_every_single_character_normalises_once_and_for_all() -> None:
    rules = Normalisation(case="lower")
    characters = [chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c <= 0xDFFF]
    once = [rules(c) for c in characters]
    assert [rules(c) for c in once] == once


@pytest.mark.parametrize(
    ("chunks", "whole"),
    [
        (["e", "\u0301"], "é"),
        (["a e", "", "\u0301 b"], "a é b"),
        (["ΟΔΥΣΣΕΥΣ", " ΕΙΜΙ"], "οδυσσευς ειμι"),
        (["ΟΔΥΣ", "ΣΕΥΣ"], "οδυσσευς"),
        (["Σ'", "Α 'Σ"], "σ'α 'σ"),
        (["ΑΣA"], "ασa"),
        (["ΑΣ'0"], "ας'0"),
        (["0'Σ"], "0'σ"),
        (["\u1112\u1161", "\u11ab"], "한"),
        (["", "", ""], ""),
        (["a e\n", "\u0301 b"], "a é b"),
    ],
)
def test_accents_and_sigmas_across_chunks(chunks: list[str], whole: str) -> None:
    rules = Normalisation(case="lower", newlines="drop")
    assert "".join(rules.stream(chunks)) == whole


@pytest.mark.parametrize(
    ("rules", "text", "expected"),
    [
        (Normalisation(), "Iä!\nIÄ!\n", "Iä!\nIÄ!\n"),
        (Normalisation(newlines="drop"), "One\n\ntwo\n", "Onetwo"),
        (Normalisation(newlines="space"), "One\n\ntwo\n", "One  two "),
        (Normalisation(newlines="drop"), "e\n\u0301", "é"),
        (Normalisation(newlines="space"), "e\n\u0301", "e \u0301"),
        (Normalisation(), "e\u0301", "\u00e9"),
        (Normalisation(nfc=False), "e\u0301", "e\u0301"),
        (NOTEBOOK, "When I\r drew\n\nNigh e\u0301", "when i\r drewnigh e\u0301"),
    ],
)
def test_rules(rules: Normalisation, text: str, expected: str) -> None:
    assert rules(text) == expected


@pytest.mark.parametrize("text", ["x" * 1000, "漢" * 1000, "GATTACA1" * 100])
def test_a_text_without_spaces_is_not_held_back(text: str) -> None:
    chunks = [text[:300], text[300:600], text[600:]]
    first = next(iter(Normalisation(case="lower").stream(chunks)))
    assert len(first) == 299  # all of the first chunk that can't change any more


def test_a_text_of_lines_of_a_letter_is_not_held_back() -> None:
    parts = list(Normalisation(newlines="drop").parts(["0\n1\n" * 50] * 3))
    assert [len(part) for part in parts] == [198, 200, 200, 2]


@pytest.mark.parametrize("rules", EVERY)
def test_the_json_form_round_trips(rules: Normalisation) -> None:
    assert Normalisation.from_dict(rules.as_dict()) == rules


@pytest.mark.parametrize(
    ("values", "named"),
    [({"case": "upper"}, "upper"), ({"newlines": "crlf"}, "crlf"), ({"stem": True}, "stem")],
)
def test_unknown_rules_are_refused(values: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        Normalisation.from_dict(values)


def test_what_becomes_of_looks_is_told() -> None:
    assert Normalisation().described == ""
    assert NOTEBOOK.described == "lower case, line ends dropped"
    assert Normalisation(newlines="space").described == "line ends as spaces"
