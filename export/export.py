"""From a run folder to a proven model file and its siblings, and proving files that exist."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from charlm.data.system.errors import ExportError, ModelFileError
from charlm.data.system.files import os_errors_as, write_set
from charlm.export import contract, weights
from charlm.export.contract import Kind, Metadata
from charlm.export.contract import native as contract_native
from charlm.export.graphs import build_siblings, genai_graph, step_graph
from charlm.export.hosts import genai, triton
from charlm.export.hosts.folder import check_free
from charlm.export.proof.errors import Proof
from charlm.export.proof.prove import prove_genai, prove_siblings, prove_step
from charlm.export.proof.texts import Texts
from charlm.export.quality import Quality, draw_sample, measure, read_sample
from charlm.export.siblings import check_replaced, present, stale, weights_of
from charlm.export.weights import Weights
from charlm.train.model import CharLSTM
from charlm.train.runs import run_folder
from charlm.train.runs.run_folder import Run

STEPS = 1000  # over which graphs carry their own state as they are proven


@dataclass(frozen=True)
class Sibling:
    """A further graph of a model, proven."""

    kind: Kind
    path: Path
    size: int  # bytes
    proof: Proof


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
        encoding: of that text.
        triton: a model repository of NVIDIA Triton, into which the model is to be written.
        genai: a folder for ONNX Runtime GenAI.
        web: a folder that a page is written to by whoever asks; nothing else may be.
    """

    kinds: Sequence[Kind] = tuple(contract.KINDS.values())
    int8: bool = False
    fp16: bool = False
    text: Path | None = None
    encoding: str = "utf-8"
    triton: Path | None = None
    genai: Path | None = None
    web: Path | None = None


@dataclass(frozen=True)
class Exported:
    """What an export wrote and proved, or what stands there and was proved.

    `qualities` has what smaller precisions cost that were measured, `notes` what was left out,
    `folders` those for other hosts.
    """

    model: Path
    metadata: Metadata
    proof: Proof
    size: int  # bytes
    siblings: tuple[Sibling, ...] = ()
    qualities: dict[str, Quality] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True)
class _Subject:
    """A model whose step graph has been proven, and what its siblings are made and proven by."""

    path: Path
    laid_out: Weights
    model: CharLSTM
    metadata: Metadata
    proof: Proof
    texts: Texts

    @classmethod
    def proven(
        cls, path: Path, content: bytes, laid_out: Weights, model: CharLSTM, metadata: Metadata
    ) -> "_Subject":
        proof, texts = prove_step(content, model, metadata, str(path), STEPS)
        return cls(path, laid_out, model, metadata, proof, texts)


def export_run(run: str | Path | Run, model: str | Path, wanted: Wanted = Wanted()) -> Exported:
    """Write the step graph of a run to `model`, its metadata and its siblings beside it.

    Nothing is written before every graph is proven equal to the Torch model, and nothing at all
    where a smaller precision is asked for and loses too much. Siblings of other weights that stand
    there are removed.

    Args:
        run: a run folder, or what `train` and `load_run` gave.
        model: the file to write, ending in `.onnx`.
        wanted: beside it.

    Raises:
        RunError: the run can't be read.
        ExportError: a proof failed, a smaller precision loses too much, or a file can't be written.
        CorpusError, VocabularyError: the text to measure on can't be used.
    """
    model = Path(model)
    if model.suffix != ".onnx":
        other = f"try {model.name}.onnx"
        if model.is_dir():
            named = shlex.quote(str(model))
            other = f"a run's folder is given with `run`: charlm-export model.onnx --run {named}"
        raise ExportError(f"{model}: a model file's name ends in .onnx; {other}")
    check_replaced(model)
    _check_folders(model, wanted)
    trained = run if isinstance(run, Run) else run_folder.load_run(run)
    laid_out = weights.from_torch(trained.model)
    metadata = weights.described(trained, laid_out)
    content = step_graph.build(laid_out, metadata)
    proven = _Subject.proven(model, content, laid_out, trained.model, metadata)
    metadata, qualities, notes = _measure(proven, wanted)
    content = step_graph.build(laid_out, metadata)  # the same graph, with what int8 costs
    own = {model: content, model.with_suffix(".json"): metadata.to_json().encode()}
    folders = _for_hosts(content, replace(proven, metadata=metadata), wanted)
    siblings = _write(own, replace(proven, metadata=metadata), wanted)
    written = _write_folders(folders)
    return Exported(
        model, metadata, proven.proof, len(content), siblings, qualities, notes, written
    )


def export_folders(model: Path, wanted: Wanted) -> Exported:
    """Write folders for other hosts of a model file that exists, which is proven, not touched.

    Raises:
        ModelFileError: the file is not a charlm model.
        ExportError: a proof failed, or a file can't be written.
    """
    content = contract.read_model_bytes(model)
    _check_folders(model, wanted)
    laid_out, metadata = weights.from_graph(content, str(model))
    proven = _Subject.proven(model, content, laid_out, weights.to_torch(laid_out), metadata)
    written = _write_folders(_for_hosts(content, proven, wanted))
    return Exported(model, metadata, proven.proof, len(content), folders=written)


def export_siblings(model: Path, wanted: Wanted = Wanted()) -> Exported:
    """Write the siblings of a model file that exists, made from the weights that it carries.

    The model is proven first, as by `verify_file`, and not touched.

    Raises:
        ModelFileError: the file is not a charlm model.
        ExportError: a proof failed, a smaller precision loses too much, or a file can't be written.
        CorpusError, VocabularyError: the text to measure on can't be used.
    """
    content = contract.read_model_bytes(model)
    laid_out, metadata = weights.from_graph(content, str(model))
    proven = _Subject.proven(model, content, laid_out, weights.to_torch(laid_out), metadata)
    with_costs, qualities, notes = _measure(proven, wanted)
    siblings = _write({}, replace(proven, metadata=with_costs), wanted)
    return Exported(model, metadata, proven.proof, len(content), siblings, qualities, notes)


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
    content = contract.read_model_bytes(model)
    own_weights, metadata = weights.from_graph(content, str(model))
    if run is None:
        torch_model = weights.to_torch(own_weights)
    else:
        torch_model = run_folder.load_run(run).model
        if weights.sha256(weights.from_torch(torch_model)) != metadata.weights_sha256:
            raise ExportError(f"{model} was exported from other weights than those of {run}")
    proven = _Subject.proven(model, content, own_weights, torch_model, metadata)
    found = {}
    for kind, path in present(model).items():
        if weights_of(path) is None:
            raise ModelFileError(
                f"{path}: damaged, or no sibling of a model: "
                f"write it anew with charlm-export --siblings-of {shlex.quote(str(model))}"
            )
        found[kind] = contract.read_model_bytes(path)
    notes: tuple[str, ...] = ()
    if contract.NATIVE in found and (missing := contract_native.problem()) is not None:
        del found[contract.NATIVE]
        notes = (f"{contract.sibling_path(model, contract.NATIVE)} not proven: {missing}",)
    siblings = _prove(found, proven)
    return Exported(model, metadata, proven.proof, len(content), siblings, notes=notes)


def _measure(
    proven: _Subject, wanted: Wanted
) -> tuple[Metadata, dict[str, Quality], tuple[str, ...]]:
    """What smaller precisions cost, in the metadata too, and a note where it can't be measured."""
    missing, metadata, where = contract_native.problem(), proven.metadata, str(proven.path)
    asked = {"int8": wanted.int8, "fp16": wanted.fp16}
    for precision, required in asked.items():
        reason = missing
        if required and reason is None and precision == "fp16":
            processors, said = contract_native.gpu()
            reason = None if processors else said
        if required and reason is not None:
            raise ExportError(f"`{precision}` can't be measured: {reason}")
    text = None if wanted.text is None else read_sample(wanted.text, metadata, wanted.encoding)
    if missing is not None:
        note = f"int8 not measured, and no {contract.NATIVE.name} sibling made: {missing}"
        return metadata, {}, (note,)
    text = text or draw_sample(proven.laid_out, metadata)
    native = build_siblings(proven.laid_out, metadata, (contract.NATIVE,))[contract.NATIVE]
    qualities = {}
    for precision, required in asked.items():
        if precision == "int8" or required:
            found = qualities[precision] = measure(native, precision, text, metadata, where)
            if required:
                found.check(precision, where)
    costs = {precision: found.as_dict() for precision, found in qualities.items()}
    return replace(metadata, quality=metadata.quality | costs), qualities, ()


def _check_folders(model: Path, wanted: Wanted) -> None:
    """See that writing folders for other hosts replaces nothing but earlier ones."""
    asked = (wanted.triton, wanted.genai, wanted.web)
    folders = [each for each in asked if each is not None]
    resolved = [each.resolve() for each in (model.parent, *folders)]
    for number, folder in enumerate(folders, start=1):
        if resolved[number] in resolved[:number]:
            raise ExportError(f"{folder} is to hold something else too: name another folder")
    if wanted.triton is not None:
        triton.check_repository(wanted.triton, model.stem)
    if wanted.genai is not None:
        check_free(wanted.genai, genai.FILES, genai.FILES)


def _for_hosts(content: bytes, proven: _Subject, wanted: Wanted) -> dict[Path, dict[Path, bytes]]:
    """The files of each folder that is asked for, by their paths in it, proven."""
    metadata, found = proven.metadata, {}
    if wanted.triton is not None:
        found[wanted.triton] = triton.repository(content, metadata, proven.path.stem)
    if wanted.genai is not None:
        graph = genai_graph.build(proven.laid_out, metadata)
        prove_genai(graph, metadata, proven.texts, str(wanted.genai / genai.GRAPH))
        found[wanted.genai] = genai.folder(graph, metadata)
    return found


def _write_folders(folders: dict[Path, dict[Path, bytes]]) -> tuple[Path, ...]:
    for folder, files in folders.items():
        with os_errors_as(ExportError, f"can't write {folder}"):
            for name in files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_set({folder / name: content for name, content in files.items()})
    return tuple(folders)


def _write(own: dict[Path, bytes], proven: _Subject, wanted: Wanted) -> tuple[Sibling, ...]:
    """Build and prove the siblings; then write them and the model's own files, all or none.

    Stale siblings go; the native one is left out where it can't be proven.
    """
    kinds, path = wanted.kinds, proven.path
    if contract_native.problem() is not None:
        kinds = [kind for kind in kinds if kind != contract.NATIVE]
    built = build_siblings(proven.laid_out, proven.metadata, kinds)
    siblings = _prove(built, proven)
    contents = own | {contract.sibling_path(path, kind): graph for kind, graph in built.items()}
    with os_errors_as(ExportError, f"can't write {next(iter(contents))}"):
        write_set(contents, stale(path, proven.metadata.weights_sha256))
    return siblings


def _prove(contents: dict[Kind, bytes], proven: _Subject) -> tuple[Sibling, ...]:
    paths = {kind: contract.sibling_path(proven.path, kind) for kind in contents}
    names = {kind: str(path) for kind, path in paths.items()}
    proofs = prove_siblings(contents, proven.model, proven.metadata, proven.texts, names)
    return tuple(
        Sibling(kind, paths[kind], len(content), proofs[kind]) for kind, content in contents.items()
    )
