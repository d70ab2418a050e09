"""From a run folder to a proven model file, and proving a file that exists."""

from dataclasses import dataclass
from pathlib import Path

from charlm.data.errors import ExportError
from charlm.data.files import atomic_writer, os_errors_as
from charlm.export import step_graph, weights
from charlm.export.contract import Metadata, read_model_bytes
from charlm.export.read_graph import read_graph
from charlm.export.verify import Proof, prove
from charlm.train import run_folder


@dataclass(frozen=True)
class Exported:
    """What an export wrote and proved."""

    model: Path
    metadata: Metadata
    proof: Proof
    size: int  # bytes


def export_run(run: Path, model: Path) -> Exported:
    """Write the step graph of a run to `model`, and its metadata to the `.json` beside it.

    Nothing is written before the graph is proven equal to the Torch model.

    Args:
        run: a run folder.
        model: the file to write, ending in `.onnx`.

    Raises:
        RunError: the run can't be read.
        ExportError: the proof failed, or the file can't be written.
    """
    if model.suffix != ".onnx":
        raise ExportError(f"{model}: a model file's name ends in .onnx; try {model.name}.onnx")
    trained = run_folder.load(run)
    laid_out = weights.from_torch(trained.model)
    metadata = Metadata(
        hidden=trained.model.config.hidden,
        layers=trained.model.config.layers,
        vocabulary=trained.vocabulary,
        normalisation=trained.normalisation,
        initial=trained.initial,
        weights_sha256=weights.sha256(laid_out),
        summary=trained.summary,
    )
    content = step_graph.build(laid_out, metadata)
    proof = prove(content, trained.model, str(model))
    # Both are on the disk before either takes its name.
    side = model.with_suffix(".json")
    with (
        os_errors_as(ExportError, f"can't write {model}"),
        atomic_writer(side) as side_file,
        atomic_writer(model) as model_file,
    ):
        side_file.write(metadata.to_json().encode())
        model_file.write(content)
    return Exported(model, metadata, proof, len(content))


def verify_file(model: Path, run: Path | None) -> Proof:
    """Prove an existing model file.

    Args:
        model: a step graph.
        run: the run that it must equal; None to hold the graph against a Torch model of the
            weights that it carries itself.

    Raises:
        ModelFileError: the file is not a charlm model.
        ExportError: it is of other weights than the run, or the proof failed.
    """
    content = read_model_bytes(model)
    own_weights, metadata = read_graph(content, str(model))
    if run is None:
        return prove(content, weights.to_torch(own_weights), str(model))
    trained = run_folder.load(run)
    if weights.sha256(weights.from_torch(trained.model)) != metadata.weights_sha256:
        raise ExportError(f"{model} was exported from other weights than those of {run}")
    return prove(content, trained.model, str(model))
