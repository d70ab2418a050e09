"""From a plan to an engine and a reader, and what a plan can't serve."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.data.system.errors import SettingsError
from charlm.export import weights
from charlm.export.contract import GENERATE, Metadata, sibling_path
from charlm.export.graphs import build_siblings, step_graph
from charlm.infer import generator as generator_module
from charlm.infer.batch.results import Failure, Result
from charlm.infer.generator import Generator
from charlm.infer.model import shipped
from charlm.infer.model.artifact import Model, open_model
from charlm.infer.planning.choose import BLOCKS, NATIVE, Plan
from charlm.infer.planning.paths import reader_of
from charlm.infer.planning.work import Work
from charlm.infer.request import Request


@pytest.mark.parametrize("prompt", ["", "the nameless city"])
@pytest.mark.parametrize("length", [1, 2, 17, 700])
def test_every_way_draws_the_same_texts(
    exact: Generator, exact_each_way: Generator, prompt: str, length: int
) -> None:
    settings: list[dict[str, Any]] = [{}, {"temperature": 0.5}, {"temperature": 0.0}]
    if exact_each_way.plan(Work(1)).path != BLOCKS:  # which has no filters
        settings += [{"top_k": 3}, {"top_p": 0.7}, {"min_p": 0.2, "top_k": 5}]
    for each in settings:
        wanted = exact.text(prompt, length=length, seed=3, **each)
        assert exact_each_way.text(prompt, length=length, seed=3, **each) == wanted


def test_a_request_that_the_plan_cannot_serve_fails_alone(exact_with_siblings: Path) -> None:
    generator = Generator.open(exact_with_siblings, "cpu", via="blocks")
    requests = [Request("the", 20, sample=n, top_k=3 if n == 1 else 0) for n in range(3)]
    first, second, third = generator.batch(requests, work=Work(3, 20))
    assert isinstance(first, Result)
    assert isinstance(second, Failure)
    assert isinstance(second.error, SettingsError)
    assert isinstance(third, Result)


def test_prompts_are_read_in_the_precision_that_draws() -> None:
    model = open_model(shipped.shipped_model(), "cpu")
    prompt = model.metadata.vocabulary.encode("when i drew nigh")
    int8, float32 = (
        reader_of(model, Plan(NATIVE, precision, 1, 64, ())).read([prompt])
        for precision in ("int8", "float32")
    )
    assert not np.array_equal(int8.h, float32.h)
    np.testing.assert_allclose(int8.h, float32.h, atol=0.2)


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


@pytest.mark.parametrize("via", ["native", "blocks", "steps"])
def test_greedy_texts_take_the_lowest_of_equals(
    exact_weights: weights.Weights, exact_metadata: Metadata, tmp_path: Path, via: str
) -> None:
    """Whatever the random number is."""
    bias = np.zeros_like(exact_weights.head_bias)
    bias[[4, 7, 9]] = 1
    tied = replace(exact_weights, head=np.zeros_like(exact_weights.head), head_bias=bias)
    metadata = replace(exact_metadata, weights_sha256=weights.sha256(tied))
    path = tmp_path / "tied.onnx"
    path.write_bytes(step_graph.build(tied, metadata))
    (graph,) = build_siblings(tied, metadata, (GENERATE,)).values()
    sibling_path(path, GENERATE).write_bytes(graph)
    found = Generator.open(path, "cpu", via=via).text("the", length=40, temperature=0, seed=1)
    assert found == metadata.vocabulary.characters[4] * 40
