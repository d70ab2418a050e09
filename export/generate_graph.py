"""`model.generate.onnx`: many steps and their sampling in one run, by Scan.

The loop's state is one pair of flat arrays a layer, kept in place by Scan; its inputs are the
random numbers; temperatures are seen from outside the body. The weights stand inside the body:
there ONNX Runtime packs them once, and outside it does not (a tenth of a step's time).
"""

import onnx

from charlm.export import draw
from charlm.export.cell import FloatProducts, State, advance
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import (
    BYTE_VOCABULARY,
    GENERATE,
    INVERSE_TEMPERATURE,
    TOKENS,
    UNIFORM,
    properties,
)
from charlm.export.graph import FLOAT, INT32, INT64, UINT8, Draft, serialise, value
from charlm.export.sibling_tensors import BATCH, declarations
from charlm.export.states import join_states, split_states


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
    token = draw.draw(draft, logits, "u", "rates", len(metadata.vocabulary))
    after = advance(draft, products, token, states)

    def declared(listed: list[State]) -> list[onnx.ValueInfoProto]:
        names = [name for state in listed for name in (state.h, state.c)]
        return [value(name, FLOAT, [BATCH, metadata.hidden]) for name in names]

    return draft.to_graph(
        "step",
        [*declared(states), value("u", FLOAT, [BATCH, 1])],
        [*declared(after), value(token, INT64, [BATCH])],
    )
