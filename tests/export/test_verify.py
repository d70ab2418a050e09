from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from charlm.data.system.errors import ExportError, ModelFileError
from charlm.export import weights
from charlm.export.contract import Metadata
from charlm.export.graphs import step_graph
from charlm.export.proof import verify
from charlm.train.model import CharLSTM

Make = Callable[..., CharLSTM]
Build = Callable[[CharLSTM], bytes]


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer steps, where the fault shows at once."""
    monkeypatch.setattr(verify, "STEPS", 30)


def with_large_cells(model: CharLSTM) -> CharLSTM:
    """Gates that add almost one to every cell at each step, and forget next to nothing."""
    hidden = model.config.hidden
    for layer in range(model.config.layers):
        bias = getattr(model.lstm, f"bias_ih_l{layer}").data
        bias[:hidden] += 8  # input gate
        bias[hidden : 2 * hidden] += 16  # forget gate
        bias[2 * hidden : 3 * hidden] += 6  # the cell's new content
    return model


def altered(content: bytes, change: Callable[[onnx.GraphProto], None]) -> bytes:
    model = onnx.load_model_from_string(content)
    change(model.graph)
    return bytes(model.SerializeToString())


def test_tolerances_are_those_of_the_design() -> None:
    assert verify.BATCHES == (1, 3, 64)
    assert verify.STEPS == 1000
    assert verify.STEP_TOLERANCE == 1e-5
    assert verify.CARRIED_TOLERANCE == 1e-3


@pytest.mark.parametrize("layers", [1, 2])
def test_a_right_graph_passes(make_model: Make, build: Build, layers: int) -> None:
    model = make_model(layers=layers, scale=2.0)
    torch.set_num_threads(2)
    proof = verify.prove(build(model), model)
    assert torch.get_num_threads() == 2
    places = {(batch, name) for batch in (1, 3, 64) for name in ("logits", "h_next", "c_next")}
    assert proof.step.keys() == proof.carried.keys() == places
    assert 0 < max(proof.step.values()) <= 1e-5
    assert 0 < max(proof.carried.values()) <= 1e-3
    one, many = proof.lines()
    assert one.startswith("one step: logits ")
    assert "(allowed 1e-05)" in one
    assert many.startswith("1000 carried steps: logits ")
    assert "(allowed 1e-03)" in many
    assert f"c_next {max(proof.carried[batch, 'c_next'] for batch in (1, 3, 64)):.1e}" in many


def test_large_cells_pass(make_model: Make, build: Build) -> None:
    """Where float32 itself is coarser than the tolerance: it is relative to the cells' size."""
    model = with_large_cells(make_model(layers=1, scale=0.5))
    token, state, largest = torch.tensor([0]), model.zero_state(1), 0.0
    with torch.no_grad():
        for _ in range(1000):
            _, state = model.step(token, state)
        largest = float(state[1].abs().max())
    assert largest > 600
    proof = verify.prove(build(model), model)
    # An absolute tolerance would have refused it.
    assert max(proof.carried.values()) * largest > 1e-5


@pytest.mark.usefixtures("briefly")
def test_an_error_is_relative_to_the_streams_own_magnitude(
    make_model: Make, build: Build, metadata_of: Callable[[CharLSTM], Metadata]
) -> None:
    """Logits a hundred times larger may differ a hundred times more, and no more than that."""
    small, large = make_model(scale=0.3), make_model(scale=0.3)
    large.head.bias.data += 100
    for model, size in ((small, 1.0), (large, 100.0)):
        for share, passes in ((0.5, True), (2.0, False)):
            laid = weights.from_torch(model)
            laid.head_bias[3] += 1e-5 * size * share
            content = step_graph.build(laid, metadata_of(model))
            if passes:
                verify.prove(content, model)
            else:
                with pytest.raises(ExportError, match="logits after one step at batch 1 "):
                    verify.prove(content, model)


@pytest.mark.parametrize(
    ("parameter", "tensor"),
    [
        ("lstm.weight_ih_l0", "h_next"),
        ("lstm.weight_hh_l0", "h_next"),
        ("lstm.weight_ih_l1", "h_next"),
        ("lstm.weight_hh_l1", "h_next"),
        ("lstm.bias_hh_l1", "h_next"),
        ("head.weight", "logits"),
        ("head.bias", "logits"),
    ],
)
@pytest.mark.usefixtures("briefly")
def test_one_weight_nudged_is_found(
    make_model: Make, build: Build, parameter: str, tensor: str
) -> None:
    model, nudged = make_model(), make_model()
    nudged.get_parameter(parameter).data.view(-1)[5] += 0.01
    with pytest.raises(ExportError, match=r"^the graph does not equal .* at batch \d+ differs by"):
        verify.prove(build(nudged), model)
    if tensor == "logits":
        with pytest.raises(ExportError, match=": logits after one step at batch 1 "):
            verify.prove(build(nudged), model)


@pytest.mark.usefixtures("briefly")
def test_swapped_gates_are_found(
    make_model: Make, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    monkeypatch.setattr(weights, "TORCH_TO_ONNX", (0, 1, 3, 2))  # o and f
    with pytest.raises(ExportError, match="after one step at batch 1 differs by"):
        verify.prove(build(model), model)


@pytest.mark.usefixtures("briefly")
def test_exchanged_states_are_found(make_model: Make, build: Build) -> None:
    model = make_model(layers=2)

    def exchange(graph: onnx.GraphProto) -> None:
        for node in graph.node:
            names = {"h_next": "c_next", "c_next": "h_next"}
            node.output[:] = [names.get(name, name) for name in node.output]

    with pytest.raises(ExportError, match="h_next after one step at batch 1 differs by"):
        verify.prove(altered(build(model), exchange), model)


@pytest.mark.usefixtures("briefly")
def test_a_graph_that_gives_nan_is_found(make_model: Make, build: Build) -> None:
    model = make_model()

    def spoil(graph: onnx.GraphProto) -> None:
        (tensor,) = (t for t in graph.initializer if t.name == step_graph.HEAD_BIAS)
        array = numpy_helper.to_array(tensor).copy()
        array[2] = np.nan
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    with pytest.raises(ExportError, match="logits after one step at batch 1 differs by nan"):
        verify.prove(altered(build(model), spoil), model)


def test_nan_in_both_is_no_proof(make_model: Make, build: Build) -> None:
    model = make_model()
    model.head.bias.data[0] = float("nan")
    with pytest.raises(ExportError, match=r"^m\.onnx: .* not finite"):
        verify.prove(build(model), model, "m.onnx")


def test_carried_errors_build_up(
    make_model: Make, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph that adds a little less to its cells: over many steps that becomes much less."""
    monkeypatch.setattr(verify, "STEP_TOLERANCE", 1.0)
    monkeypatch.setattr(verify, "CARRIED_TOLERANCE", 1.0)
    model, other = (with_large_cells(make_model(layers=1, scale=0.5)) for _ in range(2))
    other.get_parameter("lstm.bias_hh_l0").data[:16] -= 3  # input gate
    proof = verify.prove(build(other), model)
    for batch in verify.BATCHES:
        assert proof.carried[batch, "c_next"] > 100 * proof.step[batch, "c_next"] > 0


def test_logits_that_overflow_are_a_clear_error(make_model: Make, build: Build) -> None:
    model = make_model()
    model.head.weight.data *= 1e38
    model.head.bias.data.fill_(3.3e38)
    with pytest.raises(ExportError, match="logits that are not finite"):
        verify.prove(build(model), model)


@pytest.mark.usefixtures("briefly")
def test_an_error_that_builds_up_is_found(
    make_model: Make, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the tolerance of each step, and beyond that of many."""
    monkeypatch.setattr(verify, "STEP_TOLERANCE", 1.0)
    monkeypatch.setattr(verify, "CARRIED_TOLERANCE", 1e-9)
    model = make_model()
    with pytest.raises(ExportError, match="within 30 carried steps at batch 1 differs by"):
        verify.prove(build(model), model)


@pytest.mark.usefixtures("briefly")
def test_a_fault_of_large_batches_only_is_found(make_model: Make, build: Build) -> None:
    model = make_model(layers=1)

    def add_a_share_of_the_batch(graph: onnx.GraphProto) -> None:
        """logits + max(0, batch - 3): right at batches 1 and 3, wrong at 64."""
        for node in graph.node:
            node.output[:] = ["right" if name == "logits" else name for name in node.output]
        graph.initializer.append(numpy_helper.from_array(np.array(3, np.int64), "three"))
        graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "none"))
        graph.node.extend(
            [
                helper.make_node("Size", ["token"], ["streams"]),
                helper.make_node("Sub", ["streams", "three"], ["more"]),
                helper.make_node("Cast", ["more"], ["surplus"], to=onnx.TensorProto.FLOAT),
                helper.make_node("Max", ["surplus", "none"], ["error"]),
                helper.make_node("Add", ["right", "error"], ["logits"]),
            ]
        )

    with pytest.raises(ExportError, match="logits after one step at batch 64 differs by"):
        verify.prove(altered(build(model), add_a_share_of_the_batch), model)


def test_a_graph_of_another_size_is_refused(make_model: Make, build: Build) -> None:
    content = build(make_model(hidden=8))
    with pytest.raises(ModelFileError, match=r"m\.onnx: not a charlm step graph.* 2 x 16 units"):
        verify.prove(content, make_model(hidden=16), "m.onnx")


def test_a_graph_that_can_not_be_loaded_is_refused(make_model: Make, build: Build) -> None:
    def misspell(graph: onnx.GraphProto) -> None:
        graph.node[0].op_type = "Gathr"

    content = altered(build(make_model()), misspell)
    with pytest.raises(ModelFileError, match=r"^m\.onnx: ONNX Runtime can't load it: .*Gathr"):
        verify.prove(content, make_model(), "m.onnx")


@pytest.mark.usefixtures("briefly")
def test_a_graph_that_fails_as_it_runs_is_refused(make_model: Make, build: Build) -> None:
    def shorten(graph: onnx.GraphProto) -> None:
        """A table of half the characters: the others can't be looked up."""
        (tensor,) = (t for t in graph.initializer if t.name == step_graph.TABLE)
        array = numpy_helper.to_array(tensor)[:6]
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    content = altered(build(make_model()), shorten)
    with pytest.raises(ExportError, match=r"^m\.onnx: a step of \d+ streams failed: .*Gather"):
        verify.prove(content, make_model(), "m.onnx")
