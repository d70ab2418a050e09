"""fp16 siblings: what they cost, what refuses them, and their proof."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from charlm.data import console
from charlm.data.errors import ExportError, ModelFileError
from charlm.export import cli, half_siblings, quality, step_graph, verify_half, weights
from charlm.export.contract import KEY_QUALITY, Metadata
from charlm.export.contract_siblings import (
    SEQUENCE_FP16,
    UNROLLED,
    UNROLLED_FP16,
    Kind,
    sibling_path,
)
from charlm.export.half import HalfProducts
from charlm.export.proving import open_session
from charlm.export.quality import Sample
from charlm.export.verify_siblings import prove_siblings
from charlm.train.model import CharLSTM

FP16_KINDS = (UNROLLED_FP16, SEQUENCE_FP16)
NAMES = {kind: kind.name for kind in (*FP16_KINDS, UNROLLED)}
Parts = tuple[CharLSTM, weights.Weights, Metadata]
TEXT = Sample(np.random.RandomState(1).randint(0, 12, (4, 200)), "800 characters")


@pytest.fixture
def parts(
    make_model: Callable[..., CharLSTM], metadata_of: Callable[[CharLSTM], Metadata]
) -> Parts:
    model = make_model(2, scale=2.0)
    return model, weights.from_torch(model), metadata_of(model)


def test_each_says_what_it_costs(parts: Parts) -> None:
    _, laid_out, metadata = parts
    made = half_siblings.build(laid_out, metadata, TEXT, "model.onnx")
    contents, found = made.contents, made.quality
    assert set(contents) == set(FP16_KINDS)
    assert abs(found.loss) < 0.001
    assert found.before != found.after
    for content in contents.values():
        entries = onnx.load_model_from_string(content).metadata_props
        shown = {entry.key: entry.value for entry in entries}
        assert json.loads(shown[KEY_QUALITY]) == {"fp16": found.as_dict()}
        assert shown["charlm.weights_sha256"] == metadata.weights_sha256


def test_a_loss_that_is_too_large_is_refused(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "LARGEST_LOSS", -1.0)
    _, laid_out, metadata = parts
    with pytest.raises(ExportError, match=r"^model\.onnx: fp16 would take it .* without --fp16$"):
        half_siblings.build(laid_out, metadata, TEXT, "model.onnx")


@pytest.mark.parametrize("layers", [1, 2])
def test_right_graphs_are_proven(
    make_model: Callable[..., CharLSTM], metadata_of: Callable[[CharLSTM], Metadata], layers: int
) -> None:
    model = make_model(layers, scale=2.0)
    metadata = metadata_of(model)
    graphs = half_siblings.graphs(HalfProducts(weights.from_torch(model)), metadata)
    proofs = prove_siblings(graphs, model, metadata, NAMES)
    read, drawn = proofs[SEQUENCE_FP16], proofs[UNROLLED_FP16]
    assert 1e-5 < max(read.errors.values()) < verify_half.STEP_TOLERANCE  # type: ignore[union-attr]
    assert "beside Torch's float32 (allowed 1e-02)" in read.lines()[0]
    assert "beside the graph that reads in fp16 (allowed 1e-04)" in drawn.lines()[0]


def altered(content: bytes, name: str, change: Callable[[Any], Any]) -> bytes:
    """A graph with another array in the place of one."""
    model = onnx.load_model_from_string(content)
    found = [tensor for graph in graphs_of(model.graph) for tensor in graph.initializer
             if tensor.name == name]  # fmt: skip
    assert found
    for tensor in found:
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(change(array).astype(array.dtype), name))
    return model.SerializeToString()


def graphs_of(outer: onnx.GraphProto) -> list[onnx.GraphProto]:
    inner = [a.g for node in outer.node for a in node.attribute if a.HasField("g")]
    return [outer, *(each for graph in inner for each in graphs_of(graph))]


def shifted(array: Any) -> Any:
    """One column for the next: the gates of other units."""
    return np.roll(array, 1, axis=-1)


WRONG: list[tuple[Kind, str, str]] = [
    (SEQUENCE_FP16, "weights_0", "beside Torch's float32"),
    (SEQUENCE_FP16, "head", "logits at batch 1 differs"),
    (SEQUENCE_FP16, "table", "beside Torch's float32"),
    (SEQUENCE_FP16, "bias_1", "beside Torch's float32"),
    (UNROLLED_FP16, "weights_1", "beside the graph that reads|does not draw as it reads"),
    (UNROLLED_FP16, "head", "does not draw as it reads"),
    (UNROLLED_FP16, "table", "beside the graph that reads|does not draw as it reads"),
]


@pytest.mark.parametrize(("kind", "name", "saying"), WRONG)
def test_a_graph_with_a_wrong_array_is_refused(
    parts: Parts, kind: Kind, name: str, saying: str
) -> None:
    model, laid_out, metadata = parts
    content = half_siblings.graphs(HalfProducts(laid_out), metadata)[kind]
    wrong = {kind: altered(content, name, shifted)}
    with pytest.raises(ExportError, match=saying):
        prove_siblings(wrong, model, metadata, NAMES)


@pytest.mark.parametrize("kind", FP16_KINDS)
def test_numbers_that_are_not_finite_are_refused(parts: Parts, kind: Kind) -> None:
    model, laid_out, metadata = parts
    content = half_siblings.graphs(HalfProducts(laid_out), metadata)[kind]
    wrong = {kind: altered(content, "weights_0", lambda array: array * np.nan)}
    with pytest.raises(ExportError, match=kind.name):
        prove_siblings(wrong, model, metadata, NAMES)


def test_a_graph_of_other_weights_is_refused(parts: Parts) -> None:
    model, laid_out, metadata = parts
    other = replace(metadata, weights_sha256="0" * 64)
    graphs = half_siblings.graphs(HalfProducts(laid_out), other)
    with pytest.raises(ModelFileError, match="made from other weights"):
        prove_siblings(graphs, model, metadata, NAMES)


def test_the_proof_of_an_unrolled_graph_finds_a_wrong_array(parts: Parts) -> None:
    from charlm.export.siblings import build_siblings

    model, laid_out, metadata = parts
    right = build_siblings(laid_out, metadata, [UNROLLED])
    proof = prove_siblings(right, model, metadata, NAMES)[UNROLLED]
    assert "32 carried steps" in proof.lines()[0]
    for name in ("table", "weights_0", "weights_1", "bias_1", "head"):
        wrong = {UNROLLED: altered(right[UNROLLED], name, shifted)}
        with pytest.raises(ExportError):
            prove_siblings(wrong, model, metadata, NAMES)


def test_the_command_writes_them_where_they_are_asked_for(
    parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, laid_out, metadata = parts
    model = tmp_path / "model.onnx"
    model.write_bytes(step_graph.build(laid_out, metadata))
    kinds = (UNROLLED, *FP16_KINDS)
    for options, there in (([], ()), (["--cuda"], kinds[:1]), (["--cuda", "--fp16"], kinds)):
        arguments = ["--siblings-of", str(model), *options]
        assert console.exit_code(cli.app, "charlm-export", arguments) == 0
        assert [kind for kind in kinds if sibling_path(model, kind).is_file()] == [*there]
    shown = capsys.readouterr().err
    assert "fp16: " in shown
    assert "bits per character where float32 has" in shown
    assert console.exit_code(cli.app, "charlm-export", ["--verify-only", str(model)]) == 0
    assert "unrolled-fp16.onnx" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "saying"),
    [
        (["--verify-only", "m.onnx", "--cuda"], "writes nothing: leave out --cuda"),
        (["--verify-only", "m.onnx", "--int8"], "writes nothing: leave out --int8"),
        (["--verify-only", "m.onnx", "--text", "t"], "writes nothing: leave out --text"),
        (["m.onnx", "--fp16", "--no-siblings"], "--fp16 writes siblings: leave out --no-siblings"),
    ],
)
def test_options_that_exclude_one_another(
    options: list[str], saying: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert console.exit_code(cli.app, "charlm-export", options) == 2
    assert saying in capsys.readouterr().err


def test_a_session_of_each_opens_on_the_cpu(parts: Parts) -> None:
    _, laid_out, metadata = parts
    for content in half_siblings.graphs(HalfProducts(laid_out), metadata).values():
        assert open_session(content, "graph").get_outputs()
