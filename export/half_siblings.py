"""The fp16 siblings of a model: measured first, and made only where they lose little.

The loss is measured on the CPU, which multiplies the same fp16 factors in float32 and rounds the
sums to fp16 as a GPU does.
"""

from collections.abc import Mapping
from typing import Any

from charlm.export import quality, sequence_graph, unrolled_graph
from charlm.export.cell import FloatProducts
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import (
    SEQUENCE_BATCH,
    SEQUENCE_FP16,
    UNROLLED_FP16,
    Kind,
)
from charlm.export.half import HalfProducts
from charlm.export.proving import open_session
from charlm.export.quality import Measured, Quality, Request
from charlm.export.weights import Weights


def build(weights: Weights, metadata: Metadata, request: Request, where: str) -> Measured:
    """Measure the fp16 form of a model and build its siblings, each with what it costs.

    Args:
        weights: of the model.
        metadata: of the model.
        request: what to measure on.
        where: the model file's name, for messages.

    Raises:
        ExportError: it loses more than `quality.LARGEST_LOSS`, or a weight is out of fp16's range.
        CorpusError: the text can't be read, or is too short.
        VocabularyError: the text has a character that the model does not know.
    """
    sample = quality.sample(weights, metadata, request)
    exact, half = FloatProducts(weights), HalfProducts(weights)
    before, after = (
        quality.bits_per_character(open_session(content, where), sample.ids, metadata)
        for content in (
            sequence_graph.build_scan(exact, metadata, SEQUENCE_BATCH),
            sequence_graph.build_scan(half, metadata, SEQUENCE_FP16),
        )
    )
    found = Quality(before, after, sample.origin)
    found.check("fp16", where)
    return Measured(graphs(half, metadata, found.as_dict()), found)


def graphs(
    products: HalfProducts, metadata: Metadata, cost: Mapping[str, Any] | None = None
) -> dict[Kind, bytes]:
    """The serialised fp16 graphs, checked, whatever they cost."""
    return {
        UNROLLED_FP16: unrolled_graph.build(products, metadata, UNROLLED_FP16, cost),
        SEQUENCE_FP16: sequence_graph.build_scan(products, metadata, SEQUENCE_FP16, cost),
    }
