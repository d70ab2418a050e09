import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.data import MAX_HIDDEN, MAX_LAYERS
from charlm.data.system.errors import ModelFileError, VocabularyError
from charlm.data.text.normalise import CASES, NEWLINES, NOTEBOOK, Normalisation
from charlm.data.text.rare import NOTHING_RARE, Rare
from charlm.data.text.vocabulary import Vocabulary
from charlm.export import contract
from charlm.export.contract import Metadata

DIGEST = "0123456789abcdef" * 4
PLAIN = Metadata(
    hidden=5,
    layers=2,
    vocabulary=Vocabulary("abc"),
    normalisation=NOTEBOOK,
    initial=(0.5, 0.25, 0.25),
    weights_sha256=DIGEST,
    summary={"results": {"test_bits_per_character": 2.0}},
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@st.composite
def metadata(draw: st.DrawFn) -> Metadata:
    characters = draw(st.sets(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
    counts = [draw(st.integers(0, 10**9)) for _ in characters]
    counts[0] += 1
    replacement = draw(st.sampled_from(sorted(characters)))
    records = NOTHING_RARE, Rare("drop", None, 3, 9, 5, 0.25), Rare("replace", replacement, 5)
    return Metadata(
        hidden=draw(st.integers(1, MAX_HIDDEN)),
        layers=draw(st.integers(1, MAX_LAYERS)),
        vocabulary=Vocabulary(characters),
        normalisation=Normalisation(
            case=draw(st.sampled_from(CASES)),
            nfc=draw(st.booleans()),
            newlines=draw(st.sampled_from(NEWLINES)),
        ),
        initial=tuple(count / sum(counts) for count in counts),
        weights_sha256=DIGEST,
        summary=draw(st.dictionaries(st.sampled_from(["training", "é", "results"]), json_values)),
        rare=draw(st.sampled_from(records)),
        quality=draw(st.sampled_from([{}, {"int8": {"loss": 0.001, "measured_on": "é"}}])),
    )


def changed(**config: Any) -> dict[str, str]:
    """Plain properties with entries of `charlm.config` replaced, or removed where None."""
    properties = PLAIN.to_properties()
    entries = json.loads(properties[contract.KEY_CONFIG]) | config
    kept = {key: value for key, value in entries.items() if value is not None}
    return properties | {contract.KEY_CONFIG: json.dumps(kept)}


def read(properties: dict[str, str]) -> Metadata:
    return Metadata.from_properties(properties, "m.onnx")


@given(metadata())
def test_properties_read_back_as_they_were_written(written: Metadata) -> None:
    found = read(written.to_properties())
    assert found.initial == pytest.approx(written.initial, rel=1e-8, abs=0)
    assert replace(found, initial=written.initial) == written


@given(metadata())
def test_json_repeats_the_properties(written: Metadata) -> None:
    values = json.loads(written.to_json())
    properties = written.to_properties()
    assert values.keys() == properties.keys()
    assert values.pop(contract.KEY_WEIGHTS) == properties.pop(contract.KEY_WEIGHTS)
    assert values == {key: json.loads(text) for key, text in properties.items()}


def test_a_summary_can_not_take_the_place_of_the_sizes() -> None:
    named = Metadata(5, 2, Vocabulary("abc"), NOTEBOOK, PLAIN.initial, DIGEST, {"hidden": 7})
    assert read(named.to_properties()).hidden == 5


@pytest.mark.parametrize("key", [contract.KEY_FORMAT, contract.KEY_SAMPLING])
def test_a_later_version_is_refused(key: str) -> None:
    with pytest.raises(ModelFileError, match=rf"^m\.onnx: {key} 2, .* up to 1: upgrade charlm$"):
        read(PLAIN.to_properties() | {key: "2"})


@pytest.mark.parametrize("text", ["", "0", "-1", "1.0", "one", "٢", "1" * 5000])
@pytest.mark.parametrize("key", [contract.KEY_FORMAT, contract.KEY_SAMPLING])
def test_what_is_no_version_is_refused(key: str, text: str) -> None:
    with pytest.raises(ModelFileError, match=f"{key} is .*, not a version number"):
        read(PLAIN.to_properties() | {key: text})


def test_unknown_keys_are_ignored() -> None:
    properties = changed(colour="red") | {"charlm.colour": "red", "someone.else": "x"}
    found = read(properties)
    assert found.vocabulary == PLAIN.vocabulary
    assert found.summary == PLAIN.summary | {"colour": "red"}


def test_a_model_of_before_there_were_rare_characters_is_read_and_written_as_it_was() -> None:
    assert "rare" not in json.loads(PLAIN.to_properties()[contract.KEY_CONFIG])
    assert read(PLAIN.to_properties()).rare == NOTHING_RARE
    assert read(changed(rare={"policy": "drop", "of a later version": 1})).rare == Rare("drop")


def test_what_becomes_of_unknown_characters_is_what_became_of_rare_ones_unless_asked() -> None:
    assert PLAIN.unknown(None) == "error"
    assert read(changed(rare={"policy": "drop"})).unknown(None) == "drop"
    replacing = read(changed(rare={"policy": "replace", "replacement": "b"}))
    assert [replacing.unknown(asked) for asked in (None, "error", "drop", "c")] == [
        "b", "error", "drop", "c",
    ]  # fmt: skip
    with pytest.raises(VocabularyError, match="'z' is not one of the model's 3"):
        replacing.unknown("z")


def test_costs_that_say_no_loss_are_ignored() -> None:
    costs = {"int8": {"loss": "little"}, "int4": 0.1, "fp8": {}, "fp16": {"loss": 0.02}}
    found = read(PLAIN.to_properties() | {contract.KEY_QUALITY: json.dumps(costs)})
    assert found.quality == {"fp16": {"loss": 0.02}}
    found.check_loss("int8")
    with pytest.raises(ModelFileError, match=r"^fp16 costs this model 0\.0200 bits per character"):
        found.check_loss("fp16")


@pytest.mark.parametrize(
    "damage",
    [
        {contract.KEY_QUALITY: '{"int8": {"loss": 1' + "0" * 400 + "}}"},
        {contract.KEY_INITIAL: "[1" + "0" * 400 + ", 0, 0]"},
    ],
)
def test_numbers_past_any_float_are_damage(damage: dict[str, str]) -> None:
    with pytest.raises(ModelFileError, match="metadata is damaged"):
        read(PLAIN.to_properties() | damage)


@pytest.mark.parametrize(
    "key", [key for key in PLAIN.to_properties() if key != contract.KEY_STATES]
)
def test_a_missing_key_is_named(key: str) -> None:
    properties = PLAIN.to_properties()
    del properties[key]
    with pytest.raises(ModelFileError, match=f"m.onnx: .*{key}.* in its metadata|lacks '{key}'"):
        read(properties)


def test_a_file_that_says_nothing_of_its_states_is_valid() -> None:
    properties = PLAIN.to_properties()
    del properties[contract.KEY_STATES]
    assert read(properties) == PLAIN


@pytest.mark.parametrize("key", ["hidden", "layers", "vocabulary", "normalisation"])
def test_a_missing_size_is_named(key: str) -> None:
    with pytest.raises(ModelFileError, match=f"lacks '{key}'"):
        read(changed(**{key: None}))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"hidden": 0}, "hidden is a whole number"),
        ({"hidden": True}, "hidden is a whole number"),
        ({"hidden": 1.5}, "hidden is a whole number"),
        ({"hidden": "5"}, "hidden is a whole number"),
        ({"hidden": MAX_HIDDEN + 1}, "hidden is a whole number"),
        ({"layers": MAX_LAYERS + 1}, "layers is a whole number"),
        ({"layers": -1}, "layers is a whole number"),
        ({"vocabulary": 4}, "another size"),
        ({"normalisation": {"case": "upper"}}, "normalisation"),
        ({"normalisation": {"nfc": "no"}}, "nfc is true or false"),
        ({"normalisation": {"nfd": True}}, "normalisation"),
        ({"normalisation": ["lower"]}, "get"),
        ({"rare": {"policy": "guess"}}, "rare: policy is one of error, drop, replace"),
        ({"rare": {"policy": "replace", "replacement": "ab"}}, "a replacement is one character"),
        ({"rare": {"policy": "replace", "replacement": "z"}}, "'z' is not one of the model's 3"),
        ({"rare": ["drop"]}, "items"),
        ({"rare": "drop"}, "items"),
    ],
)
def test_a_malformed_configuration_is_refused(config: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelFileError, match=f"^m.onnx: its metadata is damaged: .*{reason}"):
        read(changed(**config))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (contract.KEY_CONFIG, "[]"),
        (contract.KEY_CONFIG, "{"),
        (contract.KEY_CONFIG, "[" * 100_000),
        (contract.KEY_VOCABULARY, '["b", "a", "c"]'),
        (contract.KEY_VOCABULARY, '["a", "a", "c"]'),
        (contract.KEY_VOCABULARY, '["a", "bc"]'),
        (contract.KEY_VOCABULARY, '{"a": 0}'),
        (contract.KEY_VOCABULARY, "[]"),
        (contract.KEY_INITIAL, "[0.5, 0.5]"),
        (contract.KEY_INITIAL, "[0.25, 0.25, 0.25, 0.25]"),
        (contract.KEY_INITIAL, "[0.5, 0.5, NaN]"),
        (contract.KEY_INITIAL, "[0.5, Infinity, 0]"),
        (contract.KEY_INITIAL, "[1.5, -0.5, 0]"),
        (contract.KEY_INITIAL, "[0, 0, 0]"),
        (contract.KEY_INITIAL, "[1e-50, 0, 0]"),
        (contract.KEY_INITIAL, f"[1{'0' * 400}, 0, 0]"),
        (contract.KEY_INITIAL, '["0.5", "0.25", "0.25"]'),
        (contract.KEY_INITIAL, '{"0.5": 1, "0.25": 1, "0.2500": 1}'),
        (contract.KEY_INITIAL, "1"),
        (contract.KEY_QUALITY, "[]"),
        (contract.KEY_QUALITY, "0.001"),
        (contract.KEY_WEIGHTS, ""),
        (contract.KEY_WEIGHTS, "z" * 64),
        (contract.KEY_WEIGHTS, DIGEST + "0"),
    ],
)
def test_a_malformed_entry_is_refused(key: str, text: str) -> None:
    with pytest.raises(ModelFileError, match=r"^m\.onnx: its metadata is damaged: ."):
        read(PLAIN.to_properties() | {key: text})


def test_a_file_up_to_the_cap_is_read_whole(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(contract, "MAX_MODEL_BYTES", 1000)
    path = tmp_path / "m.onnx"
    path.write_bytes(b"x" * 1000)
    assert contract.read_model_bytes(path) == b"x" * 1000
    path.write_bytes(b"x" * 1001)
    with pytest.raises(ModelFileError, match="larger than"):
        contract.read_model_bytes(path)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.truncate(contract.MAX_MODEL_BYTES + 1)  # a hole: nothing is on the disk
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="larger than 1024 MiB: not a charlm model"):
            contract.read_model_bytes(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("kind", ["missing", "folder", "empty"])
def test_what_can_not_be_read_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.onnx"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    with pytest.raises(ModelFileError, match=r"m\.onnx: .*(no such file|directory|empty)"):
        contract.read_model_bytes(path)
