"""What a model file or a run says of itself, and what stands beside it."""

from pathlib import Path
from typing import Any

from charlm.export.contract import KEY_KIND, Metadata, read_model_bytes
from charlm.export.contract import native as contract_native
from charlm.export.siblings import present, stale
from charlm.train.config import ModelConfig
from charlm.train.runs import CONFIG


def describe(named: Path) -> dict[str, Any]:
    """All there is to know of a model or a run, as JSON.

    Args:
        named: a model file, a run folder, a folder with a model in it, or a model that ships.

    Raises:
        ModelFileError, RunError: it is neither, or damaged.
        MissingExtraError: a run, where Torch is not installed.
    """
    if (named / CONFIG).is_file():
        exported = str(named / "model.onnx") if (named / "model.onnx").is_file() else None
        return _described(named, _metadata_of_run(named)) | {"model_file": exported}
    from charlm.infer.model.shipped import find_model  # infer alone knows the models that ship

    path = find_model(named)
    content = read_model_bytes(path)
    properties = contract_native.properties_of(content, str(path))
    found = _described(path, Metadata.from_properties(properties, str(path)))
    others = {other.name for other in stale(path, found["weights_sha256"])}
    beside = present(path).values()
    return found | {
        "kind": properties.get(KEY_KIND, "step"),
        "bytes": len(content),
        "siblings": {each.name: "of other weights" if each.name in others else "of its weights"
                     for each in beside},
    }  # fmt: skip


def _described(path: Path, metadata: Metadata) -> dict[str, Any]:
    sizes = ModelConfig(len(metadata.vocabulary), metadata.hidden, metadata.layers)
    return {
        "path": str(path),
        "layers": sizes.layers,
        "hidden": sizes.hidden,
        "parameters": sizes.parameters,
        "weights_sha256": metadata.weights_sha256,
        "vocabulary": list(metadata.vocabulary.characters),
        "normalisation": metadata.normalisation.as_dict(),
        "rare": metadata.rare.as_dict(),
        "quality": metadata.quality,
        **{key: metadata.summary.get(key) for key in ("corpus", "training", "results", "versions")},
    }


def _metadata_of_run(folder: Path) -> Metadata:
    from charlm.data.system.extras import require_there

    require_there("train", "torch", "safetensors")
    from charlm.export import weights
    from charlm.train.runs.run_folder import load_run

    run = load_run(folder)
    return weights.described(run, weights.from_torch(run.model))
