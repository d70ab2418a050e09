"""From a plan to an engine and a reader, and what a plan can't serve."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from charlm.data.errors import ModelFileError, SettingsError
from charlm.export import generate_graph, step_graph, weights
from charlm.export.cell import FloatProducts
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import (
    GENERATE,
    INT8,
    INT8_FILTERED,
    SEQUENCE_INT8,
    sibling_path,
)
from charlm.infer import generator as generator_module
from charlm.infer import shipped
from charlm.infer.artifact import Model, open_model
from charlm.infer.choose import BLOCKS, DEVICE_BLOCKS, Plan
from charlm.infer.engine import StepReader
from charlm.infer.generator import Generator
from charlm.infer.paths import reader_of, refusal
from charlm.infer.requests import Request
from charlm.infer.results import Failure, Result
from charlm.infer.work import Work


@pytest.fixture
def without_filters(tmp_path: Path) -> Path:
    """The model that ships with its int8 graphs, but for the one with filters."""
    source, path = shipped.shipped_model(), tmp_path / "model.onnx"
    shutil.copy(source, path)
    for kind in (INT8, SEQUENCE_INT8):
        shutil.copy(sibling_path(source, kind), sibling_path(path, kind))
    return path


def test_a_request_that_the_plan_cannot_serve_fails_alone(without_filters: Path) -> None:
    generator = Generator.open(without_filters, precision="int8")
    requests = [Request("the", 20, stream=n, top_k=3 if n == 1 else 0) for n in range(3)]
    first, second, third = generator.batch(requests, work=Work(3, 20))
    assert isinstance(first, Result)
    assert isinstance(second, Failure)
    assert isinstance(second.error, ModelFileError)
    assert INT8_FILTERED.name in str(second.error)
    assert isinstance(third, Result)


def test_fp16_refuses_what_filters_and_nothing_else() -> None:
    model = open_model(shipped.shipped_model(), "cpu")
    plan = Plan(DEVICE_BLOCKS, "fp16", 1, 32, ())
    assert refusal(model, plan, Request("the")) is None
    assert isinstance(refusal(model, plan, Request("the", min_p=0.1)), SettingsError)


def test_prompts_are_read_in_the_precision_that_draws() -> None:
    model = open_model(shipped.shipped_model(), "cpu")
    prompt = model.metadata.vocabulary.encode("when i drew nigh")
    ours = reader_of(model, Plan(BLOCKS, "int8", 1, 64, ())).read([prompt])
    exact = StepReader(model).read([prompt])
    assert not np.array_equal(ours.h, exact.h)
    np.testing.assert_allclose(ours.h, exact.h, atol=0.2)


@pytest.mark.parametrize(("precision", "provider"), [("int8", "cpu"), ("fp16", "cuda")])
def test_auto_opens_where_the_precision_is(
    precision: str, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def opened(path: Path, provider: str, *rest: object, **named: object) -> Model:
        asked.append(provider)
        return open_model(path, "cpu")

    monkeypatch.setattr(generator_module, "open_model", opened)
    Generator.open(shipped.shipped_model(), precision=precision)
    assert asked == [provider]


def test_greedy_blocks_take_the_lowest_of_equals(
    exact_weights: weights.Weights, exact_metadata: Metadata, tmp_path: Path
) -> None:
    """Whatever the random number is: the graph is handed the smallest in its place."""
    bias = np.zeros_like(exact_weights.head_bias)
    bias[[4, 7, 9]] = 1
    tied = weights.Weights(
        table=exact_weights.table,
        recurrent=exact_weights.recurrent,
        stacked=(),
        stacked_bias=(),
        head=np.zeros_like(exact_weights.head),
        head_bias=bias,
    )
    metadata = Metadata(
        hidden=exact_metadata.hidden,
        layers=1,
        vocabulary=exact_metadata.vocabulary,
        normalisation=exact_metadata.normalisation,
        initial=exact_metadata.initial,
        weights_sha256=weights.sha256(tied),
    )
    path = tmp_path / "tied.onnx"
    path.write_bytes(step_graph.build(tied, metadata))
    content = generate_graph.build(FloatProducts(tied), metadata, GENERATE)
    sibling_path(path, GENERATE).write_bytes(content)
    lowest = metadata.vocabulary.characters[4]
    for via in ("steps", "blocks"):
        generator = Generator.open(path, "cpu", via=via)
        assert generator.text("the", length=40, temperature=0, seed=1) == lowest * 40
