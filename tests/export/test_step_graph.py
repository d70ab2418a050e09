from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch

from charlm.export import contract
from charlm.train.model import CharLSTM

Make = Callable[..., CharLSTM]
Build = Callable[[CharLSTM], bytes]
Array = npt.NDArray[np.float32]
Outputs = tuple[Array, Array, Array]

CHARACTERS = " abcdefghijk"
GREEDY = "ahihhhhhh chhihigj gjijijhgjjijidhgddihhhhjahdhhhdhg jijdahhj"


class Graph:
    """A step graph in ONNX Runtime, on plain arrays."""

    def __init__(self, content: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(content, options, providers=providers)

    def __call__(self, token: npt.NDArray[np.int64], h: Array, c: Array) -> Outputs:
        names = [contract.LOGITS, contract.H_NEXT, contract.C_NEXT]
        feed = {contract.TOKEN: token, contract.H: h, contract.C: c}
        logits, h_next, c_next = self.session.run(names, feed)
        return logits, h_next, c_next


def zeros(model: CharLSTM, batch: int) -> tuple[Array, Array]:
    shape = (batch, model.config.layers, model.config.hidden)
    return np.zeros(shape, np.float32), np.zeros(shape, np.float32)


def drawn(steps: int, batch: int) -> npt.NDArray[np.int64]:
    return np.random.RandomState(steps + batch).randint(0, len(CHARACTERS), (steps, batch))


def slow_lstm_step(
    model: CharLSTM, token: int, h: list[list[float]], c: list[list[float]]
) -> list[float]:
    """One step of one stream, a number at a time in float64, as textbooks give it.

    Changes `h` and `c`, [layers][hidden], in place; returns the logits.
    """
    hidden = model.config.hidden
    state = {name: tensor.double().tolist() for name, tensor in model.state_dict().items()}
    below = [float(place == token) for place in range(model.config.vocabulary)]
    for layer in range(model.config.layers):
        gates = [
            sum(w * x for w, x in zip(state[f"lstm.weight_ih_l{layer}"][row], below, strict=True))
            + state[f"lstm.bias_ih_l{layer}"][row]
            + sum(
                w * x for w, x in zip(state[f"lstm.weight_hh_l{layer}"][row], h[layer], strict=True)
            )
            + state[f"lstm.bias_hh_l{layer}"][row]
            for row in range(4 * hidden)
        ]
        for unit in range(hidden):
            i, f, g, o = (gates[unit + block * hidden] for block in range(4))
            i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
            c[layer][unit] = float(f * c[layer][unit] + i * np.tanh(g))
            h[layer][unit] = float(o * np.tanh(c[layer][unit]))
        below = list(h[layer])
    return [
        sum(w * x for w, x in zip(row, below, strict=True)) + bias
        for row, bias in zip(state["head.weight"], state["head.bias"], strict=True)
    ]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_graph_is_that_of_the_contract(make_model: Make, build: Build, layers: int) -> None:
    model = onnx.load_model_from_string(build(make_model(layers=layers, hidden=7)))
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    integer, real = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
    described = {
        value.name: (
            value.type.tensor_type.elem_type,
            [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim],
        )
        for value in (*model.graph.input, *model.graph.output)
    }
    state = (real, ["batch", layers, 7])
    assert described == {
        "token": (integer, ["batch"]),
        "h": state,
        "c": state,
        "logits": (real, ["batch", 12]),
        "h_next": state,
        "c_next": state,
    }
    assert [value.name for value in model.graph.input] == ["token", "h", "c"]
    assert [value.name for value in model.graph.output] == ["logits", "h_next", "c_next"]
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_metadata_is_in_the_file(
    make_model: Make, build: Build, metadata_of: Callable[[CharLSTM], contract.Metadata]
) -> None:
    model = make_model()
    session = Graph(build(model)).session
    found = session.get_modelmeta().custom_metadata_map
    assert found == metadata_of(model).to_properties()


def test_one_layer_takes_twelve_computing_nodes(make_model: Make, build: Build) -> None:
    """And two that move no number: the loop's speed is in their count."""
    graph = onnx.load_model_from_string(build(make_model(layers=1))).graph
    assert len(graph.node) == 14


def test_the_same_model_gives_the_same_bytes(make_model: Make, build: Build) -> None:
    assert build(make_model()) == build(make_model())


@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_carried_steps_equal_torch(make_model: Make, build: Build, layers: int, batch: int) -> None:
    model = make_model(layers=layers, scale=2.0)
    graph = Graph(build(model))
    h, c = zeros(model, batch)
    state = model.zero_state(batch)
    for tokens in drawn(300, batch):
        logits, h, c = graph(tokens, h, c)
        with torch.no_grad():
            wanted, state = model.step(torch.from_numpy(tokens), state)
        np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-4)
        np.testing.assert_allclose(h, state[0].transpose(0, 1), rtol=0, atol=1e-4)
        np.testing.assert_allclose(c, state[1].transpose(0, 1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("layers", [1, 3])
def test_whole_sequences_equal_torch(make_model: Make, build: Build, layers: int) -> None:
    """Against Torch's own LSTM over the sequence, not the step that was written for it."""
    model = make_model(layers=layers)
    graph = Graph(build(model))
    tokens = drawn(100, 5)
    with torch.no_grad():
        hidden, (h_last, c_last) = model(torch.from_numpy(tokens), model.zero_state(5))
        wanted = model.head(hidden)
    h, c = zeros(model, 5)
    for step, token in enumerate(tokens):
        logits, h, c = graph(token, h, c)
        np.testing.assert_allclose(logits, wanted[step], rtol=0, atol=1e-5)
    np.testing.assert_allclose(h, h_last.transpose(0, 1), rtol=0, atol=1e-5)
    np.testing.assert_allclose(c, c_last.transpose(0, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_steps_equal_an_lstm_written_slowly(make_model: Make, build: Build, layers: int) -> None:
    model = make_model(layers=layers, hidden=4, scale=1.5)
    graph = Graph(build(model))
    h, c = zeros(model, 1)
    slow_h, slow_c = h[0].tolist(), c[0].tolist()
    for token in drawn(40, 1)[:, 0]:
        logits, h, c = graph(np.array([token]), h, c)
        wanted = slow_lstm_step(model, int(token), slow_h, slow_c)
        np.testing.assert_allclose(logits[0], wanted, rtol=0, atol=1e-5)
        np.testing.assert_allclose(h[0], slow_h, rtol=0, atol=1e-5)
        np.testing.assert_allclose(c[0], slow_c, rtol=0, atol=1e-5)


def test_rows_of_a_batch_are_independent(make_model: Make, build: Build) -> None:
    model = make_model(layers=2)
    graph = Graph(build(model))
    random = np.random.RandomState(0)
    h, c = (random.standard_normal((5, 2, 16)).astype(np.float32) for _ in range(2))
    tokens = np.array([3, 1, 4, 1, 5])
    before = graph(tokens, h, c)
    tokens[2], h[2], c[2] = 9, 7.0, -7.0
    after = graph(tokens, h, c)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(np.delete(a, 2, axis=0), np.delete(b, 2, axis=0))
        assert not np.allclose(a[2], b[2])


def test_greedy_text_is_the_same_for_torch_and_onnx_runtime(make_model: Make, build: Build) -> None:
    model = make_model(layers=2, scale=8.0, seed=34)
    graph = Graph(build(model))
    ours, theirs = "a", "a"
    h, c = zeros(model, 1)
    state = model.zero_state(1)
    for _ in range(60):
        logits, h, c = graph(np.array([CHARACTERS.index(ours[-1])]), h, c)
        ours += CHARACTERS[int(logits[0].argmax())]
        token = torch.tensor([CHARACTERS.index(theirs[-1])])
        with torch.no_grad():
            wanted, state = model.step(token, state)
        theirs += CHARACTERS[int(wanted[0].argmax())]
    assert ours == GREEDY
    assert theirs == GREEDY
