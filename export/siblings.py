"""The further graphs of one model: which builder makes which kind."""

from collections.abc import Callable, Iterable

from charlm.data.errors import ExportError
from charlm.export import (
    contract_native,
    generate_graph,
    sequence_graph,
    step_graph,
    unrolled_graph,
)
from charlm.export.cell import FloatProducts
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import (
    FILTERED,
    GENERATE,
    NATIVE,
    SEQUENCE,
    UNROLLED,
    Kind,
)
from charlm.export.weights import Weights
from charlm.export.wide_cell import WideFloatProducts

Builder = Callable[[Weights, Metadata, Kind], bytes]


def _native(weights: Weights, metadata: Metadata, kind: Kind) -> bytes:
    return contract_native.native_graph(step_graph.build(weights, metadata), metadata, kind.name)


def _generate(weights: Weights, metadata: Metadata, kind: Kind) -> bytes:
    return generate_graph.build(FloatProducts(weights), metadata, kind)


def _sequence(weights: Weights, metadata: Metadata, kind: Kind) -> bytes:
    return sequence_graph.build_operator(weights, FloatProducts(weights), metadata, kind)


def _unrolled(weights: Weights, metadata: Metadata, kind: Kind) -> bytes:
    return unrolled_graph.build(WideFloatProducts(weights), metadata, kind)


# A new kind is one more entry here, and a proof in `verify_siblings`.
BUILDERS: dict[Kind, Builder] = {
    NATIVE: _native,
    GENERATE: _generate,
    FILTERED: _generate,
    SEQUENCE: _sequence,
    UNROLLED: _unrolled,
}
# What every export leaves beside the step: for other languages the operator's graph (charlm makes
# it from the step graph as it opens one), and for machines without the operator ONNX's own ops.
# GENERATE leans on ArgMin taking the first of equals, as ONNX says and CUDA's kernel need not, and
# so `infer/choose.py` runs it on the CPU only.
DEFAULT_KINDS = (NATIVE, GENERATE, SEQUENCE)
# What only a GPU is better off with: large, and so written where it is asked for.
CUDA_KINDS = (UNROLLED, FILTERED)


def build_siblings(
    weights: Weights, metadata: Metadata, kinds: Iterable[Kind] = DEFAULT_KINDS
) -> dict[Kind, bytes]:
    """The serialised graphs of those kinds, checked.

    Args:
        weights: of the model.
        metadata: of the model; each graph carries it.
        kinds: what to build.

    Raises:
        ExportError: a kind that this version can't build.
    """
    built = {}
    for kind in kinds:
        if kind not in BUILDERS:
            known = ", ".join(each.name for each in BUILDERS)
            raise ExportError(f"no graph of kind {kind.name} can be built; there are {known}")
        built[kind] = BUILDERS[kind](weights, metadata, kind)
    return built
