"""From a run folder to a proven model file and its siblings, and proving files that exist."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from charlm.data.system.errors import ExportError, ModelFileError
from charlm.data.system.files import os_errors_as, write_set
from charlm.export import contract_library, weights
from charlm.export.contract import KEY_WEIGHTS, Metadata, read_model_bytes
from charlm.export.contract_siblings import KINDS, NATIVE, Kind, sibling_path
from charlm.export.graphs import step_graph
from charlm.export.graphs.siblings import DEFAULT_KINDS, build_siblings
from charlm.export.proof import verify_siblings
from charlm.export.proof.verify import Proof, prove
from charlm.export.proof.verify_siblings import prove_siblings
from charlm.export.quality import Quality, measure, sample
from charlm.export.read_graph import read_graph
from charlm.train.model import CharLSTM
from charlm.train.runs import run_folder


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


@dataclass(frozen=True)
class Sibling:
    """A further graph of a model, proven."""

    kind: Kind
    path: Path
    size: int  # bytes
    proof: verify_siblings.SiblingProof


@dataclass(frozen=True)
class Wanted:
    """What an export is to write and to measure beside the step graph.

    Attributes:
        kinds: the siblings; the native one is left out where its operator, by which it is proven,
            was not built.
        int8: refuse a model of which int8 costs too much, or can't be measured here.
        fp16: the same of fp16, which is not measured else.
        text: to measure smaller precisions on, which the model did not learn from; None: what the
            model draws itself.
    """

    kinds: Sequence[Kind] = DEFAULT_KINDS
    int8: bool = False
    fp16: bool = False
    text: Path | None = None


@dataclass(frozen=True)
class Exported:
    """What an export wrote and proved, or what stands there and was proved.

    `qualities` has what smaller precisions cost that were measured, `notes` what was left out.
    """

    model: Path
    metadata: Metadata
    proof: Proof
    size: int  # bytes
    siblings: tuple[Sibling, ...] = ()
    qualities: dict[str, Quality] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def export_run(run: str | Path, model: str | Path, wanted: Wanted = Wanted()) -> Exported:
    """Write the step graph of a run to `model`, its metadata and its siblings beside it.

    Nothing is written before every graph is proven equal to the Torch model, and nothing at all
    where a smaller precision is asked for and loses too much. Siblings of other weights that stand
    there are removed.

    Args:
        run: a run folder.
        model: the file to write, ending in `.onnx`.
        wanted: beside it.

    Raises:
        RunError: the run can't be read.
        ExportError: a proof failed, a smaller precision loses too much, or a file can't be written.
        CorpusError, VocabularyError: the text to measure on can't be used.
    """
    run, model = Path(run), Path(model)
    if model.suffix != ".onnx":
        raise ExportError(f"{model}: a model file's name ends in .onnx; try {model.name}.onnx")
    trained = run_folder.load_run(run)
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
    proof = prove(step_graph.build(laid_out, metadata), trained.model, str(model))
    work = _Work(laid_out, metadata, wanted, model)
    content = step_graph.build(laid_out, work.metadata)  # the same graph, with what int8 costs
    siblings = _prove(work.built, trained.model, metadata, model)
    own = {model: content, model.with_suffix(".json"): work.metadata.to_json().encode()}
    _write(own, work.built, model, metadata)
    return Exported(model, work.metadata, proof, len(content), siblings, work.qualities, work.notes)


def export_siblings(model: Path, wanted: Wanted = Wanted()) -> Exported:
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
    work = _Work(laid_out, metadata, wanted, model)
    siblings = _prove(work.built, torch_model, metadata, model)
    _write({}, work.built, model, metadata)
    return Exported(model, metadata, proof, len(content), siblings, work.qualities, work.notes)


def verify_file(model: str | Path, run: str | Path | None = None) -> Exported:
    """Prove an existing model file, and the siblings that stand beside it.

    Args:
        model: a step graph.
        run: the run that it must equal; None to hold the graph against a Torch model of the
            weights that it carries itself.

    Raises:
        ModelFileError: a file is not a charlm model, or a sibling not of this model.
        ExportError: it is of other weights than the run, or a proof failed.
    """
    model = Path(model)
    content = read_model_bytes(model)
    own_weights, metadata = read_graph(content, str(model))
    if run is None:
        torch_model = weights.to_torch(own_weights)
    else:
        torch_model = run_folder.load_run(run).model
        if weights.sha256(weights.from_torch(torch_model)) != metadata.weights_sha256:
            raise ExportError(f"{model} was exported from other weights than those of {run}")
    proof = prove(content, torch_model, str(model))
    found = {kind: read_model_bytes(path) for kind, path in present(model).items()}
    notes: tuple[str, ...] = ()
    if NATIVE in found and (missing := contract_library.problem()) is not None:
        del found[NATIVE]
        notes = (f"{sibling_path(model, NATIVE)} not proven: {missing}",)
    siblings = _prove(found, torch_model, metadata, model)
    return Exported(model, metadata, proof, len(content), siblings, notes=notes)


class _Work:
    """What is made of a model's weights, and what smaller precisions cost.

    Attributes:
        built: the siblings.
        metadata: the model's, with what int8 costs where that was measured.
        qualities: by precision.
        notes: what was left out, and why.
    """

    def __init__(
        self, laid_out: weights.Weights, metadata: Metadata, wanted: Wanted, model: Path
    ) -> None:
        self.metadata = metadata
        self.notes: tuple[str, ...] = ()
        self.qualities: dict[str, Quality] = {}
        missing, kinds = contract_library.problem(), tuple(wanted.kinds)
        asked = {"int8": wanted.int8, "fp16": wanted.fp16}
        for precision, required in asked.items():
            if required and (reason := missing or _lacking(precision)):
                raise ExportError(f"--{precision} can't be measured: {reason}")
        text = None
        if missing is None or wanted.text is not None:
            text = sample(laid_out, metadata, wanted.text)
        if missing is not None or text is None:
            kinds = tuple(kind for kind in kinds if kind != NATIVE)
            self.notes = (f"int8 not measured, and no {NATIVE.name} sibling made: {missing}",)
        else:
            (native,) = build_siblings(laid_out, metadata, (NATIVE,)).values()
            for precision, required in asked.items():
                if precision == "int8" or required:
                    found = measure(native, precision, text, metadata, str(model))
                    if required:
                        found.check(precision, str(model))
                    self.qualities[precision] = found
        found_costs = {name: each.as_dict() for name, each in self.qualities.items()}
        self.metadata = replace(metadata, quality=metadata.quality | found_costs)
        self.built = build_siblings(laid_out, self.metadata, kinds)


def _lacking(precision: str) -> str | None:
    """Why no device here computes in a precision; None where one does."""
    processors, reason = contract_library.gpu() if precision == "fp16" else (1, "")
    return None if processors else reason


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
