"""The LSTM's step as nodes: layers of cells over products of float32.

Inside the graphs of many steps the state is flat, [batch, hidden] for each layer, and a step
begins with the state: logits come from h, the drawn character's row joins the product of h.
"""

from dataclasses import dataclass

from charlm.export.graphs.graph import Draft
from charlm.export.weights import Weights

GATES = "iofg"  # the order in which the weights hold them


@dataclass(frozen=True)
class State:
    """Names of h and c of a layer."""

    h: str
    c: str


@dataclass(frozen=True)
class Gates:
    """Names of the activated gates of a layer, each [batch, hidden]."""

    i: str
    o: str
    f: str
    g: str


class FloatProducts:
    """float32 by Gemm, each gate with a product of its own.

    Four products write the four gates where they are wanted: cutting one wide product apart
    costs a copy of it, which is more than three further calls cost (see `benchmarks/NOTES.md`).
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def gates(self, draft: Draft, layer: int, source: str, h: str) -> Gates:
        """The gates of a layer from what it reads and its own h.

        Args:
            draft: where the nodes go.
            layer: counted from 0.
            source: the token ids, int64 [batch], for layer 0; else h of the layer below.
            h: the layer's own.
        """
        if layer:
            source = draft.add("Concat", [source, h], draft.local(f"both_{layer}"), axis=1)
        return Gates(*(self._gate(draft, layer, gate, source, h) for gate in GATES))

    def logits(self, draft: Draft, top: str) -> str:
        """float32 [batch, vocabulary] from h of the last layer."""
        head = draft.array("head", self.weights.head)
        bias = draft.array("head_bias", self.weights.head_bias)
        return draft.add("Gemm", [top, head, bias], draft.local("logits"))

    def _gate(self, draft: Draft, layer: int, gate: str, source: str, h: str) -> str:
        name, weights, hidden = f"{gate}_{layer}", self.weights, self.weights.hidden
        block = slice(GATES.index(gate) * hidden, (GATES.index(gate) + 1) * hidden)
        if layer:
            matrix = draft.array(f"weights_{name}", weights.stacked[layer - 1][:, block])
            term = draft.array(f"bias_{name}", weights.stacked_bias[layer - 1][block])
            factor = source
        else:
            matrix = draft.array(f"weights_{name}", weights.recurrent[:, block])
            table = draft.array(f"table_{name}", weights.table[:, 0, block])
            term = draft.add("Gather", [table, source], draft.local(f"row_{name}"), axis=0)
            factor = h
        total = draft.add("Gemm", [factor, matrix, term], draft.local(f"sum_{name}"))
        return draft.add("Tanh" if gate == "g" else "Sigmoid", [total], draft.local(name))


def advance(draft: Draft, products: FloatProducts, token: str, states: list[State]) -> list[State]:
    """The states after reading `token`, int64 [batch]."""
    source, after = token, []
    for layer, state in enumerate(states):
        gates = products.gates(draft, layer, source, state.h)
        after.append(_combine(draft, gates, state.c, layer))
        source = after[-1].h
    return after


def _combine(draft: Draft, gates: Gates, c: str, layer: int) -> State:
    """c' = f c + i g and h' = o tanh(c')."""
    kept = draft.add("Mul", [gates.f, c], draft.local(f"kept_{layer}"))
    written = draft.add("Mul", [gates.i, gates.g], draft.local(f"written_{layer}"))
    c_next = draft.add("Add", [kept, written], draft.local(f"c_next_{layer}"))
    squashed = draft.add("Tanh", [c_next], draft.local(f"squashed_{layer}"))
    return State(draft.add("Mul", [gates.o, squashed], draft.local(f"h_next_{layer}")), c_next)
