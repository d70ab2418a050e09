"""From a run folder to a proven model file and its siblings, and proving files that exist."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from charlm.data.errors import ExportError
from charlm.data.file_sets import write_set
from charlm.data.files import os_errors_as
from charlm.export import half_siblings, int8_siblings, step_graph, verify_siblings, weights
from charlm.export.contract import Metadata, read_model_bytes
from charlm.export.contract_siblings import Kind, sibling_path
from charlm.export.quality import Quality, Request
from charlm.export.read_graph import read_graph
from charlm.export.siblings import DEFAULT_KINDS, build_siblings
from charlm.export.stale import present, stale
from charlm.export.verify import Proof, prove
from charlm.export.verify_siblings import prove_siblings
from charlm.train import run_folder
from charlm.train.model import CharLSTM


@dataclass(frozen=True)
class Sibling:
    """A further graph of a model, proven."""

    kind: Kind
    path: Path
    size: int  # bytes
    proof: verify_siblings.Proof


@dataclass(frozen=True)
class Exported:
    """What an export wrote and proved, or what stands there and was proved.

    `qualities` has what siblings of a smaller precision that were just written cost, by form.
    """

    model: Path
    metadata: Metadata
    proof: Proof
    size: int  # bytes
    siblings: tuple[Sibling, ...] = ()
    qualities: dict[str, Quality] = field(default_factory=dict)


def export_run(
    run: Path,
    model: Path,
    kinds: Sequence[Kind] = DEFAULT_KINDS,
    int8: Request | None = None,
    fp16: Request | None = None,
) -> Exported:
    """Write the step graph of a run to `model`, its metadata and its siblings beside it.

    Nothing is written before every graph is proven equal to the Torch model, and nothing at all
    where a smaller precision is asked for and loses too much. Siblings of other weights that stand
    there are removed.

    Args:
        run: a run folder.
        model: the file to write, ending in `.onnx`.
        kinds: the siblings to write.
        int8: asks for the int8 siblings too.
        fp16: asks for the fp16 siblings too.

    Raises:
        RunError: the run can't be read.
        ExportError: a proof failed, a smaller precision loses too much, or a file can't be written.
        CorpusError, VocabularyError: the text to measure on can't be used.
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
        rare=trained.rare,
    )
    content = step_graph.build(laid_out, metadata)
    proof = prove(content, trained.model, str(model))
    built = build_siblings(laid_out, metadata, kinds)
    measured, qualities = _measured(laid_out, metadata, int8, fp16, model)
    built |= measured
    siblings = _prove(built, trained.model, metadata, model)
    own = {model: content, model.with_suffix(".json"): metadata.to_json().encode()}
    _write(own, built, model, metadata)
    return Exported(model, metadata, proof, len(content), siblings, qualities)


def export_siblings(
    model: Path,
    kinds: Sequence[Kind] = DEFAULT_KINDS,
    int8: Request | None = None,
    fp16: Request | None = None,
) -> Exported:
    """Write the siblings of a model file that exists, made from the weights that it carries.

    The model is proven first, as by `verify_file`, and not touched.

    Raises:
        ModelFileError: the file is not a charlm model.
        ExportError: a proof failed, a smaller precision loses too much, or a file can't be written.
        CorpusError, VocabularyError: the text to measure on can't be used.
    """
    content = read_model_bytes(model)
    laid_out, metadata = read_graph(content, str(model))
    torch_model = weights.to_torch(laid_out)
    proof = prove(content, torch_model, str(model))
    built = build_siblings(laid_out, metadata, kinds)
    measured, qualities = _measured(laid_out, metadata, int8, fp16, model)
    built |= measured
    siblings = _prove(built, torch_model, metadata, model)
    _write({}, built, model, metadata)
    return Exported(model, metadata, proof, len(content), siblings, qualities)


def verify_file(model: Path, run: Path | None) -> Exported:
    """Prove an existing model file, and the siblings that stand beside it.

    Args:
        model: a step graph.
        run: the run that it must equal; None to hold the graph against a Torch model of the
            weights that it carries itself.

    Raises:
        ModelFileError: a file is not a charlm model, or a sibling not of this model.
        ExportError: it is of other weights than the run, or a proof failed.
    """
    content = read_model_bytes(model)
    own_weights, metadata = read_graph(content, str(model))
    if run is None:
        torch_model = weights.to_torch(own_weights)
    else:
        torch_model = run_folder.load(run).model
        if weights.sha256(weights.from_torch(torch_model)) != metadata.weights_sha256:
            raise ExportError(f"{model} was exported from other weights than those of {run}")
    proof = prove(content, torch_model, str(model))
    found = {kind: read_model_bytes(path) for kind, path in present(model).items()}
    siblings = _prove(found, torch_model, metadata, model)
    return Exported(model, metadata, proof, len(content), siblings)


def _measured(
    laid_out: weights.Weights,
    metadata: Metadata,
    int8: Request | None,
    fp16: Request | None,
    model: Path,
) -> tuple[dict[Kind, bytes], dict[str, Quality]]:
    """Siblings of smaller precisions, and what each form costs."""
    contents: dict[Kind, bytes] = {}
    qualities: dict[str, Quality] = {}
    forms = {"int8": (int8, int8_siblings.build), "fp16": (fp16, half_siblings.build)}
    for form, (request, build) in forms.items():
        if request is not None:
            made = build(laid_out, metadata, request, str(model))
            contents |= made.contents
            qualities[form] = made.quality
    return contents, qualities


def _prove(
    contents: dict[Kind, bytes], torch_model: CharLSTM, metadata: Metadata, model: Path
) -> tuple[Sibling, ...]:
    paths = {kind: sibling_path(model, kind) for kind in contents}
    names = {kind: str(path) for kind, path in paths.items()}
    proofs = prove_siblings(contents, torch_model, metadata, names)
    return tuple(
        Sibling(kind, paths[kind], len(content), proofs[kind]) for kind, content in contents.items()
    )


def _write(
    own: dict[Path, bytes], built: dict[Kind, bytes], model: Path, metadata: Metadata
) -> None:
    """The model's own files and its siblings as one set, in the place of stale ones."""
    contents = own | {sibling_path(model, kind): graph for kind, graph in built.items()}
    with os_errors_as(ExportError, f"can't write {next(iter(contents))}"):
        write_set(contents, stale(model, metadata.weights_sha256))
