"""Whole steps that are laid otherwise than `export.generate_graph` lays them, one layer each."""

from collections.abc import Callable, Mapping

import numpy as np

from charlm.benchmarks.forms.float_products import row_of
from charlm.benchmarks.forms.layout import Layout, States, Step
from charlm.export import draw
from charlm.export.cell import FloatProducts, Products, State, advance, split_gates
from charlm.export.contract_siblings import INVERSE_TEMPERATURE
from charlm.export.graph import FLOAT, ORT_DOMAIN, Draft
from charlm.export.quantise import quantise
from charlm.export.weights import Weights

# (draft, logits, u, settings, characters) -> the character
Draw = Callable[[Draft, str, str, Mapping[str, str], int], str]


def of_products(products: Products, characters: int, drawn: Draw = draw.draw) -> Step:
    """The step that ships, over any products, with any way to draw."""

    def step(
        draft: Draft, states: States, u: str, settings: Mapping[str, str]
    ) -> tuple[States, str]:
        logits = products.logits(draft, states[0])
        token = drawn(draft, logits, u, settings, characters)
        (after,) = advance(draft, products, token, [State(*states)])
        return [after.h, after.c], token

    return step


def draw_by_minimum(
    draft: Draft, logits: str, uniform: str, settings: Mapping[str, str], characters: int
) -> str:
    """CumSum, Min with u, ArgMax: the first of the sums that reach u."""
    del characters
    sums = _sums(draft, logits, settings)
    bounded = draft.add("Min", [sums, uniform], draft.local("bounded"))
    return draft.add("ArgMax", [bounded], draft.local("token"), axis=1, keepdims=0)


def draw_by_comparison(
    draft: Draft, logits: str, uniform: str, settings: Mapping[str, str], characters: int
) -> str:
    """CumSum, GreaterOrEqual, Cast, ArgMax."""
    del characters
    sums = _sums(draft, logits, settings)
    reached = draft.add("GreaterOrEqual", [sums, uniform], draft.local("reached"))
    ones = draft.add("Cast", [reached], draft.local("ones"), to=FLOAT)
    return draft.add("ArgMax", [ones], draft.local("token"), axis=1, keepdims=0)


def _sums(draft: Draft, logits: str, settings: Mapping[str, str]) -> str:
    tempered = draft.add("Mul", [logits, settings[INVERSE_TEMPERATURE]], draft.local("tempered"))
    shares = draft.add("Softmax", [tempered], draft.local("shares"), axis=-1)
    return draft.add("CumSum", [shares, draft.array("axis", np.array(1))], draft.local("sums"))


def one_tanh(weights: Weights) -> Layout:
    """One Tanh for four gates: a sigmoid is (1 + tanh(x / 2)) / 2; the loop carries 2 h."""
    hidden, add_scale = weights.hidden, np.float32(0.5)
    scale = np.concatenate([np.full(3 * hidden, add_scale), np.ones(hidden, np.float32)])

    def step(
        draft: Draft, states: States, u: str, settings: Mapping[str, str]
    ) -> tuple[States, str]:
        (h, c), add, local = states, draft.add, draft.local
        head = draft.array("head", weights.head / 2)
        logits = add("Gemm", [h, head, draft.array("head_bias", weights.head_bias)], "logits")
        token = draw.draw(draft, logits, u, settings, weights.vocabulary)
        table = draft.array("table", weights.table[:, 0] * scale)
        row = add("Gather", [table, token], local("row"), axis=0)
        recurrent = draft.array("recurrent", weights.recurrent * scale / 2)
        gates = add("Tanh", [add("Gemm", [h, recurrent, row], local("total"))], local("gates"))
        i, o, f, g = draft.split(gates, [hidden] * 4, [local(gate) for gate in "iofg"], axis=1)
        kept = add("Mul", [f, c], local("kept"))
        written = add("Mul", [i, g], local("written"))
        double = add("Sum", [kept, c, written, g], local("double_c"))
        c_next = add("Mul", [double, draft.array("half", np.float32(0.5))], local("c_next"))
        squashed = add("Tanh", [c_next], local("squashed"))
        shown = add("Mul", [o, squashed], local("shown"))
        return [add("Add", [shown, squashed], local("double_h")), c_next], token

    return Layout(step, h_scale=2)


def product_ahead(weights: Weights) -> Layout:
    """One product for gates and logits: the loop carries what it gives, not only h."""
    hidden, characters = weights.hidden, weights.vocabulary
    matrix = np.concatenate([weights.recurrent, weights.head], axis=1)
    bias = np.concatenate([np.zeros(4 * hidden, np.float32), weights.head_bias])

    def product(draft: Draft, h: str) -> str:
        names = [draft.array("both", matrix), draft.array("both_bias", bias)]
        return draft.add("Gemm", [h, *names], draft.local("product"))

    def step(
        draft: Draft, states: States, u: str, settings: Mapping[str, str]
    ) -> tuple[States, str]:
        _, c, before = states
        names = [draft.local("recurrent_part"), draft.local("logits")]
        part, logits = draft.split(before, [4 * hidden, characters], names, axis=1)
        token = draw.draw(draft, logits, u, settings, characters)
        row = row_of(draft, weights, token)
        total = draft.add("Add", [part, row], draft.local("total"))
        gates = split_gates(draft, total, 0, hidden)
        kept = draft.add("Mul", [gates.f, c], draft.local("kept"))
        written = draft.add("Mul", [gates.i, gates.g], draft.local("written"))
        c_next = draft.add("Add", [kept, written], draft.local("c_next"))
        squashed = draft.add("Tanh", [c_next], draft.local("squashed"))
        h_next = draft.add("Mul", [gates.o, squashed], draft.local("h_next"))
        return [h_next, c_next, product(draft, h_next)], token

    return Layout(step, ahead=product, width=4 * hidden + characters)


def lstm_operator(weights: Weights) -> Layout:
    """ONNX's LSTM operator over one character, one-hot."""
    arrays = {
        "W": weights.table[:, 0].T[None],
        "R": weights.recurrent.T[None],
        "B": np.zeros((1, 8 * weights.hidden), dtype=np.float32),
    }
    return Layout(_operator_step(weights, "LSTM", arrays, [], ""), directed=True)


def int8_lstm_operator(weights: Weights) -> Layout:
    """ONNX Runtime's DynamicQuantizeLSTM, which quantises h and the one-hot row itself."""
    first = quantise(weights.recurrent, weights.table)
    inputs = quantise(weights.table[:, 0], np.zeros_like(weights.table))
    zero = np.zeros((1, 4 * weights.hidden), dtype=np.int8)
    arrays = {
        "W": inputs.values[None],
        "R": first.values[None],
        "B": np.zeros((1, 8 * weights.hidden), dtype=np.float32),
        "W_scale": inputs.scale[None],
        "zero": zero,
        "R_scale": first.scale[None],
    }
    further = ["", "W_scale", "zero", "R_scale", "zero"]
    step = _operator_step(weights, "DynamicQuantizeLSTM", arrays, further, ORT_DOMAIN)
    return Layout(step, directed=True, ort_ops=True)


def _operator_step(
    weights: Weights, op: str, arrays: Mapping[str, object], further: list[str], domain: str
) -> Step:
    products = FloatProducts(weights)

    def step(
        draft: Draft, states: States, u: str, settings: Mapping[str, str]
    ) -> tuple[States, str]:
        h, c = states
        top = draft.add("Squeeze", [h, draft.axes(0)], draft.local("top"))
        token = draw.draw(draft, products.logits(draft, top), u, settings, weights.vocabulary)
        one_hot = draft.array("one_hot", np.eye(weights.vocabulary, dtype=np.float32)[None])
        read = draft.add("Gather", [one_hot, token], draft.local("read"), axis=1)
        for name, values in arrays.items():
            draft.array(name, np.asarray(values))
        outputs = ["", draft.local("h_next"), draft.local("c_next")]
        draft.add_many(
            op,
            [read, "W", "R", "B", "", h, c, *further],
            outputs,
            domain=domain,
            hidden_size=weights.hidden,
        )
        return outputs[1:], token

    return step
