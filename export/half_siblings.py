"""The fp16 siblings of a model: measured first, and made only where they lose little.

The loss is measured on the CPU, which multiplies the same fp16 factors in float32 and rounds the
sums to fp16 as a GPU does.
"""

from dataclasses import replace

from charlm.export import quality, sequence_graph, unrolled_graph
from charlm.export.cell import FloatProducts
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import (
    SEQUENCE,
    SEQUENCE_FP16,
    UNROLLED_FP16,
    Kind,
)
from charlm.export.half import HalfProducts
from charlm.export.proving import open_session
from charlm.export.quality import Measured, Quality, Sample
from charlm.export.weights import Weights


def build(weights: Weights, metadata: Metadata, sample: Sample, where: str) -> Measured:
    """Measure the fp16 form of a model and build its siblings, each with what it costs.

    Args:
        weights: of the model.
        metadata: of the model.
        sample: the text to measure on.
        where: the model file's name, for messages.

    Raises:
        ExportError: it loses more than `contract.LARGEST_LOSS`, or a weight is out of fp16's range.
    """
    exact, half = FloatProducts(weights), HalfProducts(weights)
    before, after = (
        quality.bits_per_character(open_session(content, where), sample.ids, metadata)
        for content in (
            sequence_graph.build_operator(weights, exact, metadata, SEQUENCE),
            sequence_graph.build_scan(half, metadata, SEQUENCE_FP16),
        )
    )
    found = Quality(before, after, sample.origin)
    found.check("fp16", where)
    measured = replace(metadata, quality=metadata.quality | {"fp16": found.as_dict()})
    return Measured(graphs(half, measured), found)


def graphs(products: HalfProducts, metadata: Metadata) -> dict[Kind, bytes]:
    """The serialised fp16 graphs, checked, whatever they cost."""
    return {
        UNROLLED_FP16: unrolled_graph.build(products, metadata, UNROLLED_FP16),
        SEQUENCE_FP16: sequence_graph.build_scan(products, metadata, SEQUENCE_FP16),
    }
