"""`model.unrolled.onnx` and its like: steps and their sampling laid one after another, for GPUs.

A Scan is driven from the host, and a CUDA graph can't hold control flow. Here is none: the whole
run can be captured once and then started by one call. The number of steps is fixed, and every op
has a CUDA kernel (`tests/export/test_cuda_graphs.py` holds the list).

h and c may be bound to one buffer as input and output: nothing reads `h` or `c` after a value that
`h_next` or `c_next` is made of exists.
"""

from charlm.export.cell import Products, advance
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import UNIFORM, Kind, properties
from charlm.export.draw import draw_by_count
from charlm.export.generate_graph import cast_tokens, settings_as_columns
from charlm.export.graph import Draft, serialise
from charlm.export.sibling_tensors import declarations
from charlm.export.states import join_states, split_states

STEP_AXIS = 1


def build(products: Products, metadata: Metadata, kind: Kind) -> bytes:
    """The serialised graph, checked.

    Args:
        products: the model's weights in the kind's precision.
        metadata: of the model.
        kind: of the family `generate`, with fixed steps and no filters.
    """
    if kind.steps is None or kind.filters:
        raise ValueError(f"{kind.name} is not an unrolled kind")
    draft, characters = Draft(), len(metadata.vocabulary)
    states = split_states(draft, metadata.layers)
    settings = settings_as_columns(draft, kind, characters)
    numbers = [f"u_{step}" for step in range(kind.steps)]
    draft.split(UNIFORM, [1] * kind.steps, numbers, STEP_AXIS)
    drawn = []
    for step, number in enumerate(numbers):
        draft.suffix = f"_{step}"
        logits = products.logits(draft, states[-1].h)
        token = draw_by_count(draft, logits, number, settings, characters)
        states = advance(draft, products, token, states)
        drawn.append(draft.add("Unsqueeze", [token, draft.axes(STEP_AXIS)], draft.local("column")))
    draft.suffix = ""
    draft.add("Concat", drawn, "drawn", axis=STEP_AXIS)
    cast_tokens(draft, "drawn", metadata)
    join_states(draft, states)
    graph = draft.to_graph("charlm_unrolled", *declarations(kind, metadata))
    return serialise(graph, properties(metadata, kind))
