"""Weights as the graph lays them out: from Torch and back, read out of a file, and their hash."""

import contextlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from charlm.data.system.errors import CharlmError, ModelFileError
from charlm.export import weights
from charlm.export.contract import Metadata
from charlm.export.proof.prove import prove_step
from charlm.export.weights import Weights
from charlm.train.model import CharLSTM

Make = Callable[..., CharLSTM]
Build = Callable[[CharLSTM], bytes]
GOLDEN = "0a999ab022de5066a7217751f73773b5759349faa4aa37a0f010606fa4db734e"


def logits_of(model: CharLSTM, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        hidden, _ = model(tokens, model.zero_state(tokens.shape[1]))
        logits: torch.Tensor = model.head(hidden)
    return logits


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_to_torch_gives_the_model_back(make_model: Make, layers: int) -> None:
    model = make_model(layers=layers)
    back = weights.to_torch(weights.from_torch(model))
    tokens = torch.from_numpy(np.random.RandomState(1).randint(0, 12, (50, 4)))
    torch.testing.assert_close(logits_of(back, tokens), logits_of(model, tokens))
    assert not back.training


def assert_equal(ours: Weights, theirs: Weights) -> None:
    for name in ("table", "recurrent", "head", "head_bias"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    for name in ("stacked", "stacked_bias"):
        for a, b in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("layers", [1, 3])
def test_from_torch_gives_the_layout_back(make_model: Make, layers: int) -> None:
    """What is folded once stays as it is: no rounding on the way there and back."""
    once = weights.from_torch(make_model(layers=layers))
    assert_equal(once, weights.from_torch(weights.to_torch(once)))


@pytest.mark.parametrize("layers", [1, 3])
def test_weights_and_metadata_are_read_out_of_a_graph(
    make_model: Make, build: Build, metadata_of: Callable[[CharLSTM], Metadata], layers: int
) -> None:
    model = make_model(layers=layers)
    found, metadata = weights.from_graph(build(model), "m.onnx")
    assert_equal(found, weights.from_torch(model))
    assert metadata.weights_sha256 == metadata_of(model).weights_sha256


def test_weights_of_another_type_are_refused(make_model: Make, build: Build) -> None:
    model = onnx.load_model_from_string(build(make_model()))
    (head,) = (tensor for tensor in model.graph.initializer if tensor.name == "head")
    double = onnx.numpy_helper.to_array(head).astype(np.float64)
    head.CopyFrom(onnx.numpy_helper.from_array(double, "head"))
    with pytest.raises(ModelFileError, match=r"m\.onnx: its weights 'head' are missing or not"):
        weights.from_graph(model.SerializeToString(), "m.onnx")


def test_any_damage_ends_in_one_clear_error(make_model: Make, build: Build) -> None:
    """Bytes turned over, between the weights rather than in them, which would be harmless."""
    content = build(make_model(hidden=4))
    random = np.random.RandomState(0)
    for place, value in zip(
        random.randint(0, len(content), 400), random.randint(0, 256, 400), strict=True
    ):
        spoilt = bytearray(content)
        spoilt[place] = value
        with contextlib.suppress(CharlmError):
            found, metadata = weights.from_graph(bytes(spoilt), "m.onnx")
            prove_step(bytes(spoilt), weights.to_torch(found), metadata, "m.onnx", 2)


def test_shapes_are_those_of_the_docstring(make_model: Make) -> None:
    found = weights.from_torch(make_model(layers=3, hidden=5))
    assert (found.hidden, found.layers, found.vocabulary) == (5, 3, 12)
    assert found.table.shape == (12, 1, 20)
    assert found.recurrent.shape == (5, 20)
    assert [array.shape for array in found.stacked] == [(10, 20)] * 2
    assert [array.shape for array in found.stacked_bias] == [(20,)] * 2
    assert found.head.shape == (5, 12)
    assert found.head_bias.shape == (12,)
    arrays = (found.table, found.recurrent, *found.stacked, *found.stacked_bias, found.head)
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in arrays)


def test_layout_is_a_copy(make_model: Make) -> None:
    model = make_model()
    before = weights.sha256(weights.from_torch(model))
    laid = weights.from_torch(model)
    for array in (laid.table, laid.recurrent, *laid.stacked, laid.head, laid.head_bias):
        array += 1
    assert weights.sha256(weights.from_torch(model)) == before


def test_gates_are_reordered_from_i_f_g_o_to_i_o_f_c(make_model: Make) -> None:
    model = make_model(layers=1, hidden=1)
    model.lstm.weight_hh_l0.data = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    assert weights.from_torch(model).recurrent.tolist() == [[1.0, 4.0, 2.0, 3.0]]


def test_every_weight_is_part_of_the_hash(make_model: Make) -> None:
    seen = {weights.sha256(weights.from_torch(make_model()))}
    # Each by an amount of its own: a layer's two biases are folded into one.
    for number, (name, _) in enumerate(make_model().named_parameters()):
        for place in (0, -1):
            model = make_model()
            model.get_parameter(name).data.view(-1)[place] += 1 + number / 64
            seen.add(weights.sha256(weights.from_torch(model)))
    parameters = len(list(make_model().parameters()))
    assert len(seen) == 1 + 2 * parameters


def test_hash_depends_on_nothing_but_the_weights(make_model: Make) -> None:
    model, twin = make_model(), make_model()
    twin.train()
    twin.config = replace(twin.config, dropout=0.5)
    state = {name: tensor.clone() for name, tensor in reversed(model.state_dict().items())}
    twin.load_state_dict(state)
    assert weights.sha256(weights.from_torch(twin)) == weights.sha256(weights.from_torch(model))


def test_hash_is_the_same_everywhere(make_model: Make) -> None:
    """A golden hash: files that were exported before must keep theirs."""
    model = make_model(layers=1, hidden=1)
    for number, parameter in enumerate(model.parameters()):
        parameter.data.fill_(number + 0.5)
    assert weights.sha256(weights.from_torch(model)) == GOLDEN
