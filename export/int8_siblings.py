"""The int8 siblings of a model: measured first, and made only where they lose little."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from charlm.export import generate_graph, quality, sequence_graph
from charlm.export.cell import FloatProducts, Products
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import (
    GENERATE,
    INT8,
    INT8_FILTERED,
    INT8_ORT,
    SEQUENCE_BATCH,
    SEQUENCE_INT8,
    Kind,
)
from charlm.export.int8 import Int8Products, QGemmProducts
from charlm.export.proving import open_session
from charlm.export.quality import Quality, Sample
from charlm.export.weights import Weights

PLAIN_KINDS = (INT8, INT8_FILTERED, SEQUENCE_INT8)
ORT_KINDS = (INT8_ORT,)


@dataclass(frozen=True)
class Int8Request:
    """Asks for int8 siblings.

    Attributes:
        text: a text to measure the loss on, which the model did not learn from; None: what the
            model draws itself.
    """

    text: Path | None = None


@dataclass(frozen=True)
class Int8Siblings:
    """What was made, and what it costs.

    Attributes:
        contents: the serialised graphs, checked.
        qualities: the bits per character of each form of the products, by its name for people.
    """

    contents: dict[Kind, bytes]
    qualities: dict[str, Quality]


def build(weights: Weights, metadata: Metadata, request: Int8Request, where: str) -> Int8Siblings:
    """Measure the int8 forms of a model and build its siblings, each with what it costs.

    The forms differ a little: in ONNX Runtime's ops the head is int8 too.

    Args:
        weights: of the model.
        metadata: of the model.
        request: what to measure on.
        where: the model file's name, for messages.

    Raises:
        ExportError: a form loses more than `quality.LARGEST_LOSS`.
        CorpusError: the text can't be read, or is too short.
        VocabularyError: the text has a character that the model does not know.
    """
    forms: dict[str, tuple[Products, tuple[Kind, ...]]] = {
        "int8": (Int8Products(weights), PLAIN_KINDS),
        "int8 in ONNX Runtime's ops": (QGemmProducts(weights), ORT_KINDS),
    }
    sample = _sample(weights, metadata, request)
    reader = sequence_graph.build_scan(FloatProducts(weights), metadata, SEQUENCE_BATCH)
    before = quality.bits_per_character(open_session(reader, where), sample.ids, metadata)
    contents: dict[Kind, bytes] = {}
    qualities: dict[str, Quality] = {}
    for name, (products, kinds) in forms.items():
        after = _bits(products, metadata, sample, ort_ops=kinds == ORT_KINDS)
        found = qualities[name] = Quality(before, after, sample.origin)
        found.check("int8", where)
        contents |= {kind: _build(products, metadata, kind, found.as_dict()) for kind in kinds}
    return Int8Siblings(contents, qualities)


def _sample(weights: Weights, metadata: Metadata, request: Int8Request) -> Sample:
    if request.text is not None:
        return quality.read_sample(request.text, metadata)
    content = generate_graph.build(FloatProducts(weights), metadata, GENERATE)
    return quality.draw_sample(open_session(content, GENERATE.name), metadata)


def _bits(products: Products, metadata: Metadata, sample: Sample, ort_ops: bool) -> float:
    """Bits per character of a form, by a graph that is only for this."""
    kind = replace(SEQUENCE_INT8, ort_ops=ort_ops)
    session = open_session(sequence_graph.build_scan(products, metadata, kind), kind.name)
    return quality.bits_per_character(session, sample.ids, metadata)


def _build(products: Products, metadata: Metadata, kind: Kind, cost: Mapping[str, Any]) -> bytes:
    if kind.family == "sequence":
        return sequence_graph.build_scan(products, metadata, kind, cost)
    return generate_graph.build(products, metadata, kind, cost)
