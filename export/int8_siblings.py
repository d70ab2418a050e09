"""The int8 siblings of a model: measured first, and made only where they lose little."""

from collections.abc import Mapping
from typing import Any

from charlm.export import generate_graph, quality, sequence_graph
from charlm.export.cell import FloatProducts, Products
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import (
    INT8,
    INT8_FILTERED,
    INT8_ORT,
    SEQUENCE_BATCH,
    SEQUENCE_INT8,
    Kind,
)
from charlm.export.int8 import Int8Products, QGemmProducts
from charlm.export.proving import open_session
from charlm.export.quality import Measured, Quality, Request
from charlm.export.weights import Weights

KINDS = (INT8, INT8_FILTERED, SEQUENCE_INT8, INT8_ORT)


def build(weights: Weights, metadata: Metadata, request: Request, where: str) -> Measured:
    """Measure what int8 costs a model, and build its siblings with that in their metadata.

    The graphs differ in their nodes, not in what they compute.

    Args:
        weights: of the model.
        metadata: of the model.
        request: what to measure on.
        where: the model file's name, for messages.

    Raises:
        ExportError: the loss is more than `quality.LARGEST_LOSS`.
        CorpusError: the text can't be read, or is too short.
        VocabularyError: the text has a character that the model does not know.
    """
    sample = quality.sample(weights, metadata, request)
    reader = sequence_graph.build_scan(FloatProducts(weights), metadata, SEQUENCE_BATCH)
    before = quality.bits_per_character(open_session(reader, where), sample.ids, metadata)
    plain, ort = Int8Products(weights), QGemmProducts(weights)
    own = sequence_graph.build_scan(plain, metadata, SEQUENCE_INT8)
    after = quality.bits_per_character(open_session(own, where), sample.ids, metadata)
    found = Quality(before, after, sample.origin)
    found.check("int8", where)
    cost = found.as_dict()
    return Measured(
        {kind: _build(ort if kind.ort_ops else plain, metadata, kind, cost) for kind in KINDS},
        found,
    )


def _build(products: Products, metadata: Metadata, kind: Kind, cost: Mapping[str, Any]) -> bytes:
    if kind.family == "sequence":
        return sequence_graph.build_scan(products, metadata, kind, cost)
    return generate_graph.build(products, metadata, kind, cost)
