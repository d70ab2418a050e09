"""Siblings left beside a model from an older export: which of them its weights make wrong."""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from charlm.data.errors import ModelFileError
from charlm.export.contract import KEY_WEIGHTS, read_model_bytes
from charlm.export.contract_siblings import KINDS, Kind, sibling_path


def present(model: Path) -> dict[Kind, Path]:
    """The siblings that stand beside a model, by the names of the files alone."""
    paths = {kind: sibling_path(model, kind) for kind in KINDS.values()}
    return {kind: path for kind, path in paths.items() if path.is_file()}


def stale(model: Path, weights_sha256: str) -> list[Path]:
    """The files beside a model that bear a sibling's name and are of other weights, or damaged.

    Args:
        model: the model file, which need not exist.
        weights_sha256: of its weights.
    """
    return [path for path in present(model).values() if _weights_of(path) != weights_sha256]


def _weights_of(path: Path) -> str | None:
    try:
        found = onnx.load_model_from_string(read_model_bytes(path))
    except (ModelFileError, DecodeError, ValueError):
        return None
    hashes = [entry.value for entry in found.metadata_props if entry.key == KEY_WEIGHTS]
    return hashes[0] if len(hashes) == 1 else None
