"""`model.sequence.onnx`: a text is read in one run, by ONNX Runtime's LSTM operator."""

import numpy as np

from charlm.export import contract
from charlm.export.contract import Metadata
from charlm.export.graphs.cell import LayerState, join_states, logits, split_states
from charlm.export.graphs.draft import FLOAT, INT32, Draft
from charlm.export.weights import Weights

# Up to this vocabulary one-hot characters are copied rows of a matrix; past it that matrix is
# larger than the model.
ONE_HOT_ROWS = 256


def build(weights: Weights, metadata: Metadata) -> bytes:
    """The serialised graph, checked."""
    draft = Draft()
    tops, last = read_texts(draft, weights, _characters(draft, weights.vocabulary))
    join_states(draft, last)
    _score(draft, weights, tops, last[-1].h)
    return draft.to_model(contract.SEQUENCE, metadata)


def read_texts(draft: Draft, weights: Weights, below: str) -> tuple[str, list[LayerState]]:
    """One LSTM operator a layer, given whole texts, from the graph's inputs `h` and `c`.

    Args:
        draft: where the nodes go.
        weights: of the model.
        below: the texts one-hot, float32 [time, batch, vocabulary].

    Returns:
        h of the last layer after each character, float32 [time, batch, hidden], and the layers'
        states after the last one.
    """
    last = []
    for layer, state in enumerate(split_states(draft, weights.layers)):
        arrays = _operator_arrays(draft, weights, layer)
        axes = draft.axes(0)
        before = [
            draft.add("Unsqueeze", [name, axes], f"{name}_directed") for name in (state.h, state.c)
        ]
        outputs = [f"{name}_{layer}" for name in ("tops", "h_after", "c_after")]
        draft.add_many("LSTM", [below, *arrays, "", *before], outputs, hidden_size=weights.hidden)
        below = draft.add("Squeeze", [outputs[0], draft.axes(1)], f"below_{layer}")
        last.append(
            LayerState(
                *(draft.add("Squeeze", [name, axes], f"{name}_flat") for name in outputs[1:])
            )
        )
    return below, last


def _characters(draft: Draft, vocabulary: int) -> str:
    """The texts one-hot, float32 [time, batch, vocabulary]."""
    turned = draft.add("Transpose", [contract.TOKENS], "tokens_by_time", perm=[1, 0])
    if vocabulary <= ONE_HOT_ROWS:
        rows = draft.array("one_hot", np.eye(vocabulary, dtype=np.float32))
        return draft.add("Gather", [rows, turned], "characters", axis=0)
    return one_hot(draft, vocabulary, turned)


def one_hot(draft: Draft, vocabulary: int, turned: str) -> str:
    """Characters one-hot; all zeros for an id that the vocabulary lacks.

    OneHot took two to five times as long as comparing with every id.

    Args:
        draft: where the nodes go.
        vocabulary: how many characters there are.
        turned: token ids, integers [time, batch].
    """
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


def _score(draft: Draft, weights: Weights, tops: str, last: str) -> None:
    """`log_probability` from h of the last layer [time, batch, hidden], and `logits` after it."""
    # One row a character: the head is a product of matrices for the whole text.
    rows = draft.add("Flatten", [tops], "rows", axis=2)
    every = logits(draft, weights, rows, "logits_all")
    shares = draft.add("LogSoftmax", [every], "log_shares", axis=-1)
    draft.add("Identity", [logits(draft, weights, last, "logits_last")], contract.LOGITS)
    targets = draft.add("Transpose", [contract.TARGETS], "targets_by_time", perm=[1, 0])
    flat = draft.add("Reshape", [targets, draft.array("column", np.array([-1, 1]))], "target_rows")
    found = draft.add("GatherElements", [shares, flat], "found", axis=1)
    shape = draft.add("Shape", [targets], "by_time")
    by_time = draft.add("Reshape", [found, shape], "found_by_time")
    draft.add("Transpose", [by_time], contract.LOG_PROBABILITY, perm=[1, 0])
