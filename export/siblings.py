"""Which siblings stand beside a model, and whether they are of its weights; without Torch."""

from pathlib import Path

from charlm.data.system.errors import ModelFileError
from charlm.export.contract import KEY_WEIGHTS, KINDS, Kind, read_model_bytes, sibling_path
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
    try:
        found = contract_native.properties_of(read_model_bytes(path), str(path))
    except ModelFileError:
        return None
    return found.get(KEY_WEIGHTS)
