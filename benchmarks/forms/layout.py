"""Graphs of many steps whose parts can be laid otherwise than `export.generate_graph` lays them.

They keep the contract's tensors. One layer only: that is what was measured.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx

from charlm.export import contract
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import GENERATE, TOKENS, UNIFORM, properties
from charlm.export.generate_graph import cast_tokens, settings_as_columns
from charlm.export.graph import FLOAT, INT64, UINT8, Draft, Shape, serialise, value
from charlm.export.sibling_tensors import BATCH, declarations

States = list[str]
# (draft, states, u, settings) -> the states after the step, and the character that it drew.
Step = Callable[[Draft, States, str, Mapping[str, str]], tuple[States, str]]


@dataclass(frozen=True)
class Layout:
    """How a graph is laid.

    Attributes:
        step: the nodes of one step; its states are h, c and what `ahead` adds.
        directed: h and c are [1, batch, hidden] within the loop, as the LSTM operator wants them.
        h_scale: the loop carries h times this.
        ahead: makes a further state, [batch, width], from h before the first step.
        width: of that state.
        unrolled: steps laid one after another in the body; `steps` must be a multiple of it.
        weights_outside: they are constants of the graph rather than of the body.
        bytes_inside: the body casts each character to a byte.
        ort_ops: there are ops of ONNX Runtime's own.
    """

    step: Step
    directed: bool = False
    h_scale: float = 1
    ahead: Callable[[Draft, str], str] | None = None
    width: int = 0
    unrolled: int = 1
    weights_outside: bool = False
    bytes_inside: bool = False
    ort_ops: bool = False


def build(layout: Layout, metadata: Metadata) -> bytes:
    """The serialised graph, checked."""
    draft = Draft()
    settings = settings_as_columns(draft, GENERATE, len(metadata.vocabulary))
    before = _enter(draft, layout)
    shape = draft.array("blocks", np.array([0, -1, layout.unrolled]))
    numbers = draft.add("Reshape", [UNIFORM, shape], "blocks_of_numbers")
    body = _body(draft, layout, metadata, settings, len(before))
    after = [f"last_{place}" for place in range(len(before))]
    draft.scan(body, [*before, numbers], [*after, "drawn_blocks"], scanned=1)
    flat = draft.array("flat", np.array([0, -1]))
    drawn = draft.add("Reshape", ["drawn_blocks", flat], "drawn")
    if layout.bytes_inside:
        draft.add("Identity", [drawn], TOKENS)
    else:
        cast_tokens(draft, drawn, metadata)
    _leave(draft, layout, after)
    kind = replace(GENERATE, ort_ops=layout.ort_ops)
    graph = draft.to_graph("form", *declarations(kind, metadata))
    return serialise(graph, properties(metadata, kind), kind.ort_ops)


def _enter(draft: Draft, layout: Layout) -> States:
    """The states before the first step, from the contract's [batch, 1, hidden]."""
    h, c = (_turned(draft, layout, name, f"first_{name}") for name in (contract.H, contract.C))
    if layout.h_scale != 1:
        factor = draft.array("h_scale", np.float32(layout.h_scale))
        h = draft.add("Mul", [h, factor], "first_h_scaled")
    return [h, c] if layout.ahead is None else [h, c, layout.ahead(draft, h)]


def _turned(draft: Draft, layout: Layout, name: str, output: str) -> str:
    if layout.directed:
        return draft.add("Transpose", [name], output, perm=[1, 0, 2])
    return draft.add("Squeeze", [name, draft.axes(1)], output)


def _leave(draft: Draft, layout: Layout, after: States) -> None:
    """The contract's state from the states after the last step."""
    h, c = after[:2]
    if layout.h_scale != 1:
        factor = draft.array("h_unscale", np.float32(1 / layout.h_scale))
        h = draft.add("Mul", [h, factor], "last_h_unscaled")
    for name, output in ((h, contract.H_NEXT), (c, contract.C_NEXT)):
        if layout.directed:
            draft.add("Transpose", [name], output, perm=[1, 0, 2])
        else:
            draft.add("Unsqueeze", [name, draft.axes(1)], output)


def _body(
    outer: Draft, layout: Layout, metadata: Metadata, settings: Mapping[str, str], count: int
) -> onnx.GraphProto:
    """One run of the body: the states and u -> the states and the characters."""
    draft = Draft()
    before = ["h", "c", "ahead"][:count]
    after, drawn = before, []
    numbers = [f"u_{place}" for place in range(layout.unrolled)]
    if layout.unrolled > 1:
        draft.split("u", [1] * layout.unrolled, numbers, axis=1)
    for place, number in enumerate(numbers):
        draft.suffix = f"_{place}"
        after, token = layout.step(draft, after, number if layout.unrolled > 1 else "u", settings)
        drawn.append(token)
    token, shape = _joined(draft, layout, drawn)
    if layout.weights_outside:
        outer.arrays |= draft.arrays
        draft.arrays = {}
    state: Shape = [1, BATCH, metadata.hidden] if layout.directed else [BATCH, metadata.hidden]
    shapes: list[Shape] = [state, state, [BATCH, layout.width]]
    kind = UINT8 if layout.bytes_inside else INT64

    def declared(names: States) -> list[onnx.ValueInfoProto]:
        return [value(name, FLOAT, shapes[place]) for place, name in enumerate(names)]

    return draft.to_graph(
        "step",
        [*declared(before), value("u", FLOAT, [BATCH, layout.unrolled])],
        [*declared(after), value(token, kind, shape)],
    )


def _joined(draft: Draft, layout: Layout, drawn: list[str]) -> tuple[str, Shape]:
    """The characters of one run of the body, and their shape."""
    if layout.bytes_inside:
        drawn = [draft.add("Cast", [token], f"{token}_byte", to=UINT8) for token in drawn]
    if layout.unrolled == 1:
        return drawn[0], [BATCH]
    columns = [draft.add("Unsqueeze", [token, draft.axes(1)], f"{token}_column") for token in drawn]
    return draft.add("Concat", columns, "block", axis=1), [BATCH, layout.unrolled]
