"""`model.generate.onnx`: many steps and their sampling in one run, by Scan.

The loop's state is one pair of flat arrays a layer, kept in place by Scan; its inputs are the
random numbers; temperatures are seen from outside the body. The weights stand inside the body:
there ONNX Runtime packs them once, and outside it does not (a tenth of a step's time).
"""

import numpy as np
import onnx
from onnx import helper

from charlm.export import contract
from charlm.export.contract import Metadata
from charlm.export.graphs.cell import LayerState, advance, join_states, logits, split_states
from charlm.export.graphs.draft import BATCH, FLOAT, INT32, INT64, UINT8, Draft, value
from charlm.export.weights import Weights

# Up to this vocabulary the sums come from a product with a triangle of ones, one node that also
# subtracts u; past it the triangle is larger than the model.
TRIANGLE = 256


def build(weights: Weights, metadata: Metadata) -> bytes:
    """The serialised graph, checked."""
    draft, layers = Draft(), metadata.layers
    states = split_states(draft, layers)
    draft.add("Unsqueeze", [contract.INVERSE_TEMPERATURE, draft.axes(1)], "rates")
    numbers = draft.add("Unsqueeze", [contract.UNIFORM, draft.axes(2)], "uniform_columns")
    last = [LayerState(f"last_h_{layer}", f"last_c_{layer}") for layer in range(layers)]
    step = helper.make_node(
        "Scan",
        [*_names(states), numbers],
        [*_names(last), "drawn"],
        name="steps",
        body=_body(weights, metadata),
        num_scan_inputs=1,
        scan_input_axes=[1],
        scan_output_axes=[1],
    )
    draft.nodes.append(step)
    small = len(metadata.vocabulary) <= contract.BYTE_VOCABULARY
    draft.add("Cast", ["drawn"], contract.TOKENS, to=UINT8 if small else INT32)
    join_states(draft, last)
    return draft.to_model(contract.GENERATE, metadata)


def _body(weights: Weights, metadata: Metadata) -> onnx.GraphProto:
    """One step: h and c of each layer, and u [batch, 1] -> h and c of each layer, and the token."""
    draft = Draft()
    states = [LayerState(f"h_{layer}", f"c_{layer}") for layer in range(metadata.layers)]
    token = _draw(draft, logits(draft, weights, states[-1].h), len(metadata.vocabulary))
    after = advance(draft, weights, token, states)

    def declared(listed: list[LayerState]) -> list[onnx.ValueInfoProto]:
        return [value(name, FLOAT, [BATCH, metadata.hidden]) for name in _names(listed)]

    return draft.to_graph(
        "step",
        [*declared(states), value("u", FLOAT, [BATCH, 1])],
        [*declared(after), value(token, INT64, [BATCH])],
    )


def _draw(draft: Draft, logits: str, characters: int) -> str:
    """The smallest id whose cumulative share reaches u, int64 [batch]."""
    tempered = draft.add("Mul", [logits, "rates"], "tempered")
    shares = draft.add("Softmax", [tempered], "shares", axis=-1)
    if characters <= TRIANGLE:
        minus = draft.array("minus_triangle", -np.triu(np.ones((characters,) * 2, np.float32)))
        missing = draft.add("Gemm", [shares, minus, "u"], "missing")
    else:
        axis = draft.array("axis", np.array(1))
        sums = draft.add("CumSum", [shares, axis], "sums")
        missing = draft.add("Sub", ["u", sums], "missing")
    positive = draft.add("Relu", [missing], "short")
    return draft.add("ArgMin", [positive], "token", axis=1, keepdims=0)


def _names(states: list[LayerState]) -> list[str]:
    return [name for state in states for name in (state.h, state.c)]
