"""The graphs of a model, built node by node: which builder makes which kind."""

from collections.abc import Callable, Iterable

from charlm.export.contract import GENERATE, KINDS, NATIVE, SEQUENCE, Kind, Metadata
from charlm.export.contract.native import native_graph
from charlm.export.graphs import generate_graph, sequence_graph, step_graph
from charlm.export.weights import Weights


def _native(weights: Weights, metadata: Metadata) -> bytes:
    return native_graph(step_graph.build(weights, metadata), metadata, NATIVE.name)


# For other languages the operator's graph (charlm makes it from the step graph as it opens one),
# and for machines without the operator graphs of ONNX's own ops. A new kind is one more entry here,
# and a proof in `charlm.export.proof.prove`.
BUILDERS: dict[Kind, Callable[[Weights, Metadata], bytes]] = {
    NATIVE: _native,
    GENERATE: generate_graph.build,
    SEQUENCE: sequence_graph.build,
}


def build_siblings(
    weights: Weights, metadata: Metadata, kinds: Iterable[Kind] = tuple(KINDS.values())
) -> dict[Kind, bytes]:
    """The serialised graphs of those kinds, checked; each carries the metadata."""
    return {kind: BUILDERS[kind](weights, metadata) for kind in kinds}
