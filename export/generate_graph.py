"""`model.generate.onnx` and its like: many steps and their sampling in one run, by Scan.

The loop's state is one pair of flat arrays a layer, kept in place by Scan; its inputs are the
random numbers; temperatures and filters are seen from outside the body. The weights stand inside
the body: there ONNX Runtime packs them once, and outside it does not (a tenth of a step's time).
"""

from collections.abc import Mapping

import onnx

from charlm.export import draw
from charlm.export.cell import Products, State, advance
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import (
    BYTE_VOCABULARY,
    INVERSE_TEMPERATURE,
    MIN_P,
    TOKENS,
    TOP_K,
    TOP_P,
    UNIFORM,
    Kind,
    properties,
)
from charlm.export.graph import FLOAT, INT32, INT64, UINT8, Draft, serialise, value
from charlm.export.sibling_tensors import BATCH, declarations
from charlm.export.states import join_states, split_states


def build(products: Products, metadata: Metadata, kind: Kind) -> bytes:
    """The serialised graph, checked.

    Args:
        products: the model's weights in the kind's precision.
        metadata: of the model.
        kind: of the family `generate`, with free steps.
    """
    draft, layers = Draft(), metadata.layers
    states = split_states(draft, layers)
    settings = settings_as_columns(draft, kind, len(metadata.vocabulary))
    numbers = draft.add("Unsqueeze", [UNIFORM, draft.axes(2)], "uniform_columns")
    flat = [name for state in states for name in (state.h, state.c)]
    last = [State(f"last_h_{layer}", f"last_c_{layer}") for layer in range(layers)]
    outputs = [name for state in last for name in (state.h, state.c)]
    body = _body(products, metadata, kind, settings)
    draft.scan(body, [*flat, numbers], [*outputs, "drawn"], scanned=1)
    cast_tokens(draft, "drawn", metadata)
    join_states(draft, last)
    graph = draft.to_graph("charlm_generate", *declarations(kind, metadata))
    return serialise(graph, properties(metadata, kind))


def settings_as_columns(draft: Draft, kind: Kind, characters: int) -> dict[str, str]:
    """What a step sees of each stream's settings, [batch, 1], by the settings' names as inputs."""
    names = [INVERSE_TEMPERATURE, *((TOP_K, TOP_P, MIN_P) if kind.filters else ())]
    axes = draft.axes(1)
    columns = {name: draft.add("Unsqueeze", [name, axes], f"{name}_column") for name in names}
    if kind.filters:
        columns[TOP_K] = draw.first_ranks(draft, columns[TOP_K], characters)
    return columns


def cast_tokens(draft: Draft, drawn: str, metadata: Metadata) -> None:
    """The output `tokens` in the contract's type from int64 [batch, steps]."""
    small = len(metadata.vocabulary) <= BYTE_VOCABULARY
    draft.add("Cast", [drawn], TOKENS, to=UINT8 if small else INT32)


def _body(
    products: Products, metadata: Metadata, kind: Kind, settings: Mapping[str, str]
) -> onnx.GraphProto:
    """One step: h and c of each layer, and u [batch, 1] -> h and c of each layer, and the token."""
    draft = Draft()
    states = [State(f"h_{layer}", f"c_{layer}") for layer in range(metadata.layers)]
    logits = products.logits(draft, states[-1].h)
    nodes = draw.draw_filtered if kind.filters else draw.draw
    token = nodes(draft, logits, "u", settings, len(metadata.vocabulary))
    after = advance(draft, products, token, states)

    def declared(listed: list[State]) -> list[onnx.ValueInfoProto]:
        names = [name for state in listed for name in (state.h, state.c)]
        return [value(name, FLOAT, [BATCH, metadata.hidden]) for name in names]

    return draft.to_graph(
        "step",
        [*declared(states), value("u", FLOAT, [BATCH, 1])],
        [*declared(after), value(token, INT64, [BATCH])],
    )
