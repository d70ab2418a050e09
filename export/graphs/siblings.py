"""The further graphs of one model: which builder makes which kind."""

from collections.abc import Callable, Iterable

from charlm.export import contract_native
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import GENERATE, NATIVE, SEQUENCE, Kind
from charlm.export.graphs import generate_graph, sequence_graph, step_graph
from charlm.export.graphs.cell import FloatProducts
from charlm.export.weights import Weights


def _native(weights: Weights, metadata: Metadata) -> bytes:
    return contract_native.native_graph(step_graph.build(weights, metadata), metadata, NATIVE.name)


def _generate(weights: Weights, metadata: Metadata) -> bytes:
    return generate_graph.build(FloatProducts(weights), metadata)


# For other languages the operator's graph (charlm makes it from the step graph as it opens one),
# and for machines without the operator graphs of ONNX's own ops. A new kind is one more entry here,
# and a proof in `verify_siblings`.
BUILDERS: dict[Kind, Callable[[Weights, Metadata], bytes]] = {
    NATIVE: _native,
    GENERATE: _generate,
    SEQUENCE: sequence_graph.build,
}
DEFAULT_KINDS = tuple(BUILDERS)


def build_siblings(
    weights: Weights, metadata: Metadata, kinds: Iterable[Kind] = DEFAULT_KINDS
) -> dict[Kind, bytes]:
    """The serialised graphs of those kinds, checked.

    Args:
        weights: of the model.
        metadata: of the model; each graph carries it.
        kinds: what to build.
    """
    return {kind: BUILDERS[kind](weights, metadata) for kind in kinds}
