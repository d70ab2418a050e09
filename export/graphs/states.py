"""The contract's state [batch, layers, hidden] as [batch, hidden] for each layer, and back."""

from charlm.export.contract import C_NEXT, H_NEXT, C, H
from charlm.export.graphs.cell import State
from charlm.export.graphs.graph import Draft

LAYER_AXIS = 1


def split_states(draft: Draft, layers: int) -> list[State]:
    """The graph's inputs `h` and `c` as one flat state for each layer."""
    flat = {name: _split(draft, name, layers) for name in (H, C)}
    return [State(h, c) for h, c in zip(flat[H], flat[C], strict=True)]


def join_states(draft: Draft, states: list[State]) -> None:
    """The graph's outputs `h_next` and `c_next` from the layers' states."""
    for name, parts in (
        (H_NEXT, [state.h for state in states]),
        (C_NEXT, [state.c for state in states]),
    ):
        if len(parts) == 1:
            draft.add("Unsqueeze", [parts[0], draft.axes(LAYER_AXIS)], name)
            continue
        axes = draft.axes(LAYER_AXIS)
        stacked = [draft.add("Unsqueeze", [part, axes], f"{part}_stacked") for part in parts]
        draft.add("Concat", stacked, name, axis=LAYER_AXIS)


def _split(draft: Draft, name: str, layers: int) -> list[str]:
    axes = draft.axes(LAYER_AXIS)
    if layers == 1:
        return [draft.add("Squeeze", [name, axes], f"{name}_flat")]
    parts = [f"{name}_{layer}_cut" for layer in range(layers)]
    draft.split(name, [1] * layers, parts, LAYER_AXIS)
    return [
        draft.add("Squeeze", [part, axes], f"{name}_flat_{layer}")
        for layer, part in enumerate(parts)
    ]
