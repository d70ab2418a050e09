"""`model.generate.onnx`: many steps and their sampling in one run, by Scan.

The loop's state is one pair of flat arrays a layer, kept in place by Scan; its inputs are the
random numbers; temperatures are seen from outside the body. The weights stand inside the body:
there ONNX Runtime packs them once, and outside it does not (a tenth of a step's time).
"""

import numpy as np
import onnx

from charlm.export.contract import Metadata
from charlm.export.contract_siblings import (
    BYTE_VOCABULARY,
    GENERATE,
    INVERSE_TEMPERATURE,
    TOKENS,
    UNIFORM,
    properties,
)
from charlm.export.graphs.cell import FloatProducts, State, advance
from charlm.export.graphs.graph import FLOAT, INT32, INT64, UINT8, Draft, serialise, value
from charlm.export.graphs.sibling_tensors import BATCH, declarations
from charlm.export.graphs.states import join_states, split_states

# Up to this vocabulary the sums come from a product with a triangle of ones, one node that also
# subtracts u; past it the triangle is larger than the model.
TRIANGLE = 256


def draw(draft: Draft, logits: str, uniform: str, rate: str, characters: int) -> str:
    """Token ids int64 [batch] for `logits` [batch, characters].

    Args:
        draft: where the nodes go.
        logits: float32 [batch, characters].
        uniform: u, float32 [batch, 1].
        rate: 1/T of each stream, float32 [batch, 1].
        characters: size of the vocabulary.
    """
    tempered = draft.add("Mul", [logits, rate], draft.local("tempered"))
    shares = draft.add("Softmax", [tempered], draft.local("shares"), axis=-1)
    return _invert(draft, shares, uniform, characters)


def _invert(draft: Draft, shares: str, bound: str, characters: int) -> str:
    """The smallest k whose cumulative share reaches `bound` [batch, 1], int64 [batch]."""
    if characters <= TRIANGLE:
        minus = draft.array("minus_triangle", -np.triu(np.ones((characters,) * 2, np.float32)))
        missing = draft.add("Gemm", [shares, minus, bound], draft.local("missing"))
    else:
        axis = draft.array("axis", np.array(1))
        sums = draft.add("CumSum", [shares, axis], draft.local("sums"))
        missing = draft.add("Sub", [bound, sums], draft.local("missing"))
    positive = draft.add("Relu", [missing], draft.local("short"))
    return draft.add("ArgMin", [positive], draft.local("token"), axis=1, keepdims=0)


def build(products: FloatProducts, metadata: Metadata) -> bytes:
    """The serialised graph, checked.

    Args:
        products: the model's weights.
        metadata: of the model.
    """
    draft, layers = Draft(), metadata.layers
    states = split_states(draft, layers)
    draft.add("Unsqueeze", [INVERSE_TEMPERATURE, draft.axes(1)], "rates")
    numbers = draft.add("Unsqueeze", [UNIFORM, draft.axes(2)], "uniform_columns")
    flat = [name for state in states for name in (state.h, state.c)]
    last = [State(f"last_h_{layer}", f"last_c_{layer}") for layer in range(layers)]
    outputs = [name for state in last for name in (state.h, state.c)]
    body = _body(products, metadata)
    draft.scan(body, [*flat, numbers], [*outputs, "drawn"], scanned=1)
    small = len(metadata.vocabulary) <= BYTE_VOCABULARY
    draft.add("Cast", ["drawn"], TOKENS, to=UINT8 if small else INT32)
    join_states(draft, last)
    graph = draft.to_graph("charlm_generate", *declarations(GENERATE, metadata))
    return serialise(graph, properties(metadata, GENERATE))


def _body(products: FloatProducts, metadata: Metadata) -> onnx.GraphProto:
    """One step: h and c of each layer, and u [batch, 1] -> h and c of each layer, and the token."""
    draft = Draft()
    states = [State(f"h_{layer}", f"c_{layer}") for layer in range(metadata.layers)]
    logits = products.logits(draft, states[-1].h)
    token = draw(draft, logits, "u", "rates", len(metadata.vocabulary))
    after = advance(draft, products, token, states)

    def declared(listed: list[State]) -> list[onnx.ValueInfoProto]:
        names = [name for state in listed for name in (state.h, state.c)]
        return [value(name, FLOAT, [BATCH, metadata.hidden]) for name in names]

    return draft.to_graph(
        "step",
        [*declared(states), value("u", FLOAT, [BATCH, 1])],
        [*declared(after), value(token, INT64, [BATCH])],
    )
