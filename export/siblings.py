"""Whose files stand beside a model, and under its name; without Torch."""

import json
from pathlib import Path

from charlm.data.system.errors import ExportError, ModelFileError
from charlm.data.system.files import os_errors_as
from charlm.export.contract import (
    KEY_KIND,
    KEY_WEIGHTS,
    KINDS,
    Kind,
    read_model_bytes,
    sibling_path,
)
from charlm.export.contract import native as contract_native


def present(model: Path) -> dict[Kind, Path]:
    """The siblings that stand beside a model, by the names of the files alone."""
    paths = {kind: sibling_path(model, kind) for kind in KINDS.values()}
    return {kind: path for kind, path in paths.items() if path.is_file()}


def stale(model: Path, weights_sha256: str) -> list[Path]:
    """The files beside a model that bear a sibling's name and are of other weights, or damaged."""
    return [path for path in present(model).values() if weights_of(path) != weights_sha256]


def weights_of(path: Path) -> str | None:
    """The `charlm.weights_sha256` of a model's file or a sibling's; None of a damaged one."""
    return _properties(path).get(KEY_WEIGHTS)


def check_replaced(model: Path) -> None:
    """See that an export to that name replaces nothing but an earlier one, or what is empty.

    Raises:
        ExportError: another file stands there, or a sibling of a model.
    """
    described = model.with_suffix(".json")
    for path, is_ours in ((model, weights_of), (described, _describes)):
        with os_errors_as(ExportError, f"can't write {path}"):
            if path.is_file() and path.stat().st_size and not is_ours(path):
                raise ExportError(
                    f"{path} is there, and charlm-export has not written it: "
                    "move it, or choose another name"
                )
    if model.is_file() and KEY_KIND in _properties(model):
        raise ExportError(
            f"{model} is a graph that stands beside a model: name the model, or choose another name"
        )


def _properties(path: Path) -> dict[str, str]:
    """The metadata of a graph's file; none of a damaged one."""
    try:
        return contract_native.properties_of(read_model_bytes(path), str(path))
    except ModelFileError:
        return {}


def _describes(path: Path) -> bool:
    """Whether a file is the metadata of a model."""
    try:
        return KEY_WEIGHTS in json.loads(path.read_bytes())
    except (ValueError, TypeError, RecursionError):
        return False
