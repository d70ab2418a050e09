"""The forms of the graph of many steps that were measured draw what they should."""

from typing import Any

import numpy as np
import pytest
import torch

from charlm.benchmarks import generate_forms
from charlm.benchmarks.forms import agreement, turns
from charlm.benchmarks.forms.catalogue import NEAR, SHIPPED, Form, float_forms, int8_forms
from charlm.data.errors import ExportError
from charlm.data.normalise import NOTEBOOK
from charlm.data.vocabulary import Vocabulary
from charlm.export import weights
from charlm.export.contract import Metadata
from charlm.export.weights import Weights
from charlm.infer.artifact import Model
from charlm.infer.filters import Filters
from charlm.train.config import ModelConfig
from charlm.train.model import CharLSTM

FORMS = {**float_forms(), **int8_forms()}
CHARACTERS = "abcdefghijklm"


@pytest.fixture(scope="module")
def given() -> Weights:
    torch.manual_seed(3)
    model = CharLSTM(ModelConfig(len(CHARACTERS), hidden=16))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that what is drawn depends on what came before
    return weights.from_torch(model)


@pytest.fixture(scope="module")
def metadata(given: Weights) -> Metadata:
    return Metadata(
        hidden=given.hidden,
        layers=1,
        vocabulary=Vocabulary(CHARACTERS),
        normalisation=NOTEBOOK,
        initial=(1 / len(CHARACTERS),) * len(CHARACTERS),
        weights_sha256=weights.sha256(given),
    )


@pytest.fixture(scope="module")
def shipped(given: Weights, metadata: Metadata) -> Any:
    return generate_forms.open_form(FORMS[SHIPPED].build(given, metadata))


@pytest.mark.parametrize("name", FORMS)
def test_every_form_builds_and_draws_what_it_should(
    name: str, given: Weights, metadata: Metadata, shipped: Any
) -> None:
    form = FORMS[name]
    session = generate_forms.open_form(form.build(given, metadata), form.memory_pattern)
    agreement.check(session, form, name, shipped, given, metadata)


@pytest.mark.parametrize("name", FORMS)
def test_a_form_of_other_weights_is_refused(
    name: str, given: Weights, metadata: Metadata, shipped: Any
) -> None:
    torch.manual_seed(4)
    other = weights.from_torch(CharLSTM(ModelConfig(len(CHARACTERS), hidden=16)))
    form = FORMS[name]
    session = generate_forms.open_form(form.build(other, metadata))
    with pytest.raises(ExportError):
        agreement.check(session, form, name, shipped, given, metadata)


def test_bits_are_found_for_the_forms_that_read(given: Weights, metadata: Metadata) -> None:
    forms: dict[str, Form] = int8_forms()
    found = generate_forms.lost_bits(forms, given, metadata)
    assert set(found) == {name for name, form in forms.items() if form.products}
    assert all(abs(float(bits)) < 0.05 for bits in found.values())
    assert any(form.proof == NEAR for form in forms.values())


def test_the_filters_of_both_ways_draw_the_same(given: Weights, metadata: Metadata) -> None:
    from charlm.export import generate_graph, step_graph
    from charlm.export.cell import FloatProducts
    from charlm.export.contract_siblings import FILTERED, TOKENS

    filters, shape = Filters(top_k=5, top_p=0.9), (16, 8)
    step = generate_forms.open_form(step_graph.build(given, metadata))
    model = Model(step, metadata, "cpu", 1, None)
    graph = generate_forms.open_form(generate_graph.build(FloatProducts(given), metadata, FILTERED))
    inputs = generate_forms.filtered_feed(*shape, metadata, filters)
    (drawn,) = graph.run([TOKENS], inputs)
    np.testing.assert_array_equal(generate_forms.step_loop(model, given, *shape, filters)(), drawn)
    plain = generate_forms.step_loop(model, given, *shape, Filters())()
    assert not np.array_equal(plain, drawn)


def test_turns_count_every_round_of_every_call() -> None:
    called = {"a": 0, "b": 0}

    def call(name: str) -> None:
        called[name] += 1

    times = turns.in_turns(
        {name: lambda name=name: call(name) for name in called},  # type: ignore[misc]
        units=2,
        rounds=3,
        seconds=1e-6,
    )
    assert {name: len(rounds) for name, rounds in times.items()} == {"a": 3, "b": 3}
    assert min(called.values()) >= 2 + 2 + 3


def test_a_cell_holds_median_ratio_and_ends() -> None:
    times = {"a": [2.0, 1.0, 4.0], "b": [3.0, 2.0, 12.0]}
    assert turns.cell(times, "b", "a") == "3 ×2.00 (2 - 12)"
    assert turns.cell(times, "a") == "2 (1 - 4)"
    assert turns.table("x", {"y": {"r": "1"}, "z": {"s": "2"}}).splitlines() == [
        "| x | y | z |",
        "|---|---|---|",
        "| r | 1 |  |",
        "| s |  | 2 |",
    ]
