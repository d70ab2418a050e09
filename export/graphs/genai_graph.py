"""The graph that ONNX Runtime GenAI drives: a text is read, and every next character judged.

GenAI takes any decoder for a stack of attention layers; h and c pass as the two states of a single
recurrent layer, `conv_state` and `recurrent_state` in its words, whatever their number of axes but
four and five. It knows an id that ends a text, which charlm's models have not: `END_LOGIT` leaves
it no chance. It hands the same memory in as the state before and after a run, so both outputs are
written once all that reads the inputs is done.

|     | name                                | type    | shape                       |
|-----|-------------------------------------|---------|-----------------------------|
| in  | `input_ids`                         | int64   | [batch, time]               |
| in  | `past_key_values.0.conv_state`      | float32 | [batch, layers, hidden], h  |
| in  | `past_key_values.0.recurrent_state` | float32 | [batch, layers, hidden], c  |
| out | `logits`                            | float32 | [batch, time, characters+1] |
| out | `present.0.conv_state`              | float32 | [batch, layers, hidden], h  |
| out | `present.0.recurrent_state`         | float32 | [batch, layers, hidden], c  |
"""

import numpy as np

from charlm.export.contract import C_NEXT, H_NEXT, LOGITS, C, H, Metadata
from charlm.export.graphs.cell import join_states
from charlm.export.graphs.draft import BATCH, FLOAT, INT64, Draft, to_file, value
from charlm.export.graphs.sequence_graph import one_hot, read_texts
from charlm.export.weights import Weights

INPUT_IDS = "input_ids"
BEFORE = {H: "past_key_values.0.conv_state", C: "past_key_values.0.recurrent_state"}
AFTER = {H_NEXT: "present.0.conv_state", C_NEXT: "present.0.recurrent_state"}
END_LOGIT = -1e30  # finite, so that no temperature makes it NaN


def build(weights: Weights, metadata: Metadata) -> bytes:
    """The serialised graph, checked."""
    draft = Draft()
    for own, theirs in BEFORE.items():
        draft.add("Identity", [theirs], own)
    turned = draft.add("Transpose", [INPUT_IDS], "ids_by_time", perm=[1, 0])
    tops, last = read_texts(draft, weights, one_hot(draft, weights.vocabulary, turned))
    join_states(draft, last)
    for own, theirs in AFTER.items():
        draft.add("Identity", [own], theirs)
    _judge(draft, weights, tops)
    state: list[str | int | None] = [BATCH, weights.layers, weights.hidden]
    inputs = [value(INPUT_IDS, INT64, [BATCH, "time"])]
    outputs = [value(LOGITS, FLOAT, [BATCH, "time", weights.vocabulary + 1])]
    inputs += [value(name, FLOAT, state) for name in BEFORE.values()]
    outputs += [value(name, FLOAT, state) for name in AFTER.values()]
    return to_file(draft.to_graph("charlm_genai", inputs, outputs), metadata.to_properties())


def _judge(draft: Draft, weights: Weights, tops: str) -> None:
    """`logits`, from h of the last layer, float32 [time, batch, hidden]."""
    head = draft.array("head", np.pad(weights.head, ((0, 0), (0, 1))))
    bias = draft.array("head_bias", np.append(weights.head_bias, np.float32(END_LOGIT)))
    product = draft.add("MatMul", [tops, head], "product")
    by_time = draft.add("Add", [product, bias], "logits_by_time")
    draft.add("Transpose", [by_time], LOGITS, perm=[1, 0, 2])
