"""The LSTM's cell as nodes, and the layers of cells of which graphs of many steps are made.

Inside those the state is flat, [batch, hidden] for each layer, and a step begins with the state:
logits come from h, the drawn character's row joins the product of h.
"""

from dataclasses import dataclass

from charlm.export.contract import C_NEXT, H_NEXT, C, H
from charlm.export.graphs.draft import Draft
from charlm.export.weights import Weights

GATES = "iofg"  # the order in which the weights hold them
LAYER_AXIS = 1  # of the contract's state [batch, layers, hidden]


@dataclass(frozen=True)
class LayerState:
    """Names of h and c of a layer."""

    h: str
    c: str


@dataclass(frozen=True)
class Gates:
    """Names of the activated gates of a layer, each [..., hidden]."""

    i: str
    o: str
    f: str
    g: str


def combine(
    draft: Draft, gates: Gates, c: str, layer: int, after: LayerState | None = None
) -> LayerState:
    """c' = f c + i g and h' = o tanh(c').

    Args:
        after: how the results are named; None names them by the layer.
    """
    after = after or LayerState(f"h_next_{layer}", f"c_next_{layer}")
    kept = draft.add("Mul", [gates.f, c], f"kept_{layer}")
    written = draft.add("Mul", [gates.i, gates.g], f"written_{layer}")
    draft.add("Add", [kept, written], after.c)
    squashed = draft.add("Tanh", [after.c], f"squashed_{layer}")
    draft.add("Mul", [gates.o, squashed], after.h)
    return after


def advance(
    draft: Draft, weights: Weights, token: str, states: list[LayerState]
) -> list[LayerState]:
    """The states after reading `token`, int64 [batch]."""
    below, after = token, []
    for layer, state in enumerate(states):
        if layer:
            below = draft.add("Concat", [below, state.h], f"both_{layer}", axis=1)
        gates = Gates(*(_gate(draft, weights, layer, gate, below, state.h) for gate in GATES))
        after.append(combine(draft, gates, state.c, layer))
        below = after[-1].h
    return after


def _gate(draft: Draft, weights: Weights, layer: int, gate: str, below: str, h: str) -> str:
    """One gate by a product of its own.

    Four products write the four gates where they are wanted: cutting one wide product apart
    costs a copy of it, which is more than three further calls cost (see `benchmarks/NOTES.md`).
    """
    name, start = f"{gate}_{layer}", GATES.index(gate) * weights.hidden
    block = slice(start, start + weights.hidden)
    if layer:
        matrix = draft.array(f"weights_{name}", weights.stacked[layer - 1][:, block])
        term = draft.array(f"bias_{name}", weights.stacked_bias[layer - 1][block])
    else:
        matrix = draft.array(f"weights_{name}", weights.recurrent[:, block])
        table = draft.array(f"table_{name}", weights.table[:, 0, block])
        term = draft.add("Gather", [table, below], f"row_{name}", axis=0)
    total = draft.add("Gemm", [below if layer else h, matrix, term], f"sum_{name}")
    return draft.add("Tanh" if gate == "g" else "Sigmoid", [total], name)


def logits(draft: Draft, weights: Weights, top: str, output: str = "logits") -> str:
    """float32 [rows, vocabulary] from h of the last layer, [rows, hidden]."""
    head = draft.array("head", weights.head)
    bias = draft.array("head_bias", weights.head_bias)
    return draft.add("Gemm", [top, head, bias], output)


def split_states(draft: Draft, layers: int) -> list[LayerState]:
    """The graph's inputs `h` and `c` as one flat state for each layer."""
    return [
        LayerState(h, c) for h, c in zip(*(_flat(draft, n, layers) for n in (H, C)), strict=True)
    ]


def _flat(draft: Draft, name: str, layers: int) -> list[str]:
    axes = draft.axes(LAYER_AXIS)
    if layers == 1:
        return [draft.add("Squeeze", [name, axes], f"{name}_flat")]
    parts = [f"{name}_{layer}_cut" for layer in range(layers)]
    draft.split(name, [1] * layers, parts, LAYER_AXIS)
    return [
        draft.add("Squeeze", [part, axes], f"{name}_flat_{layer}")
        for layer, part in enumerate(parts)
    ]


def join_states(draft: Draft, states: list[LayerState]) -> None:
    """The graph's outputs `h_next` and `c_next` from the layers' states."""
    axes = draft.axes(LAYER_AXIS)
    for name, parts in (
        (H_NEXT, [state.h for state in states]),
        (C_NEXT, [state.c for state in states]),
    ):
        if len(parts) == 1:
            draft.add("Unsqueeze", [parts[0], axes], name)
            continue
        stacked = [draft.add("Unsqueeze", [part, axes], f"{part}_stacked") for part in parts]
        draft.add("Concat", stacked, name, axis=LAYER_AXIS)
