"""`model.sequence.onnx`: a text is read in one run, by ONNX Runtime's LSTM operator."""

import numpy as np

from charlm.export.contract import LOGITS, Metadata
from charlm.export.contract_siblings import (
    LOG_PROBABILITY,
    SEQUENCE,
    TARGETS,
    TOKENS,
    properties,
)
from charlm.export.graphs.cell import FloatProducts, State
from charlm.export.graphs.graph import FLOAT, INT32, Draft, serialise
from charlm.export.graphs.sibling_tensors import declarations
from charlm.export.graphs.states import join_states, split_states
from charlm.export.weights import Weights

# Up to this vocabulary one-hot characters are copied rows of a matrix; past it that matrix is
# larger than the model.
ONE_HOT_ROWS = 256


def build(weights: Weights, metadata: Metadata) -> bytes:
    """The serialised graph, checked: one LSTM operator a layer, given the whole text.

    Args:
        weights: of the model.
        metadata: of the model.
    """
    draft, last, products = Draft(), [], FloatProducts(weights)
    below = _characters(draft, weights.vocabulary)
    for layer, state in enumerate(split_states(draft, metadata.layers)):
        arrays = _operator_arrays(draft, weights, layer)
        axes = draft.axes(0)
        before = [
            draft.add("Unsqueeze", [name, axes], f"{name}_directed") for name in (state.h, state.c)
        ]
        outputs = [f"{name}_{layer}" for name in ("tops", "h_after", "c_after")]
        draft.add_many("LSTM", [below, *arrays, "", *before], outputs, hidden_size=weights.hidden)
        below = draft.add("Squeeze", [outputs[0], draft.axes(1)], f"below_{layer}")
        last.append(
            State(*(draft.add("Squeeze", [name, axes], f"{name}_flat") for name in outputs[1:]))
        )
    join_states(draft, last)
    _score(draft, products, below, last[-1].h)
    graph = draft.to_graph("charlm_sequence", *declarations(SEQUENCE, metadata))
    return serialise(graph, properties(metadata, SEQUENCE))


def _characters(draft: Draft, vocabulary: int) -> str:
    """The texts one-hot, float32 [time, batch, vocabulary]."""
    turned = draft.add("Transpose", [TOKENS], "tokens_by_time", perm=[1, 0])
    if vocabulary <= ONE_HOT_ROWS:
        rows = draft.array("one_hot", np.eye(vocabulary, dtype=np.float32))
        return draft.add("Gather", [rows, turned], "characters", axis=0)
    # OneHot took two to five times as long as comparing with every id.
    ids = draft.add("Cast", [turned], "small_ids", to=INT32)
    each = draft.add("Unsqueeze", [ids, draft.axes(2)], "ids")
    every = draft.array("every_id", np.arange(vocabulary, dtype=np.int32))
    return draft.add("Cast", [draft.add("Equal", [each, every], "is_id")], "characters", to=FLOAT)


def _operator_arrays(draft: Draft, weights: Weights, layer: int) -> list[str]:
    """W, R and B of the operator; the weights' gates are in its order already."""
    hidden = weights.hidden
    bias = np.zeros((1, 8 * hidden), dtype=np.float32)
    if layer == 0:  # the table's rows hold the bias
        into, own = weights.table[:, 0], weights.recurrent
    else:
        into, own = np.split(weights.stacked[layer - 1], 2)
        bias[0, : 4 * hidden] = weights.stacked_bias[layer - 1]
    return [
        draft.array(f"W_{layer}", into.T[None]),
        draft.array(f"R_{layer}", own.T[None]),
        draft.array(f"B_{layer}", bias),
    ]


def _score(draft: Draft, products: FloatProducts, tops: str, last: str) -> None:
    """`log_probability` from h of the last layer [time, batch, hidden], and `logits` after it."""
    # One row a character: the head is a product of matrices for the whole text.
    rows = draft.add("Flatten", [tops], "rows", axis=2)
    draft.suffix = "_all"
    shares = draft.add("LogSoftmax", [products.logits(draft, rows)], "log_shares", axis=-1)
    draft.suffix = "_last"
    draft.add("Identity", [products.logits(draft, last)], LOGITS)
    targets = draft.add("Transpose", [TARGETS], "targets_by_time", perm=[1, 0])
    flat = draft.add("Reshape", [targets, draft.array("column", np.array([-1, 1]))], "target_rows")
    found = draft.add("GatherElements", [shares, flat], "found", axis=1)
    shape = draft.add("Shape", [targets], "by_time")
    by_time = draft.add("Reshape", [found, shape], "found_by_time")
    draft.add("Transpose", [by_time], LOG_PROBABILITY, perm=[1, 0])
