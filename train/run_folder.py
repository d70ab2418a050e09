"""The files of a run folder that are derived from its training state, and reading them back."""

import json
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from charlm.data.errors import CharlmError, RunError
from charlm.data.files import os_errors_as, write_bytes, write_text
from charlm.data.normalise import Normalisation
from charlm.data.rare import NOTHING_RARE, Rare
from charlm.data.vocabulary import Vocabulary
from charlm.train import curve, model_card, versions
from charlm.train.checkpoint import FILE as STATE
from charlm.train.checkpoint import Checkpoint, Setup
from charlm.train.config import ModelConfig, as_dict
from charlm.train.format import check_format
from charlm.train.model import CharLSTM
from charlm.train.report import files as report_files

FORMAT = 1
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
METRICS = "metrics.jsonl"
CARD = "README.md"
CURVE = "loss.svg"
DERIVED = (WEIGHTS, CONFIG, METRICS, CARD, CURVE)


@dataclass(frozen=True)
class Run:
    """A trained model as its run folder describes it.

    Attributes:
        model: in evaluation mode, on the CPU.
        initial: relative frequency of each character in the training part.
        summary: JSON object on how it was trained and how good it is.
        rare: what became of characters outside the vocabulary.
    """

    model: CharLSTM
    vocabulary: Vocabulary
    normalisation: Normalisation
    initial: tuple[float, ...]
    summary: dict[str, Any]
    rare: Rare = NOTHING_RARE


def write(folder: Path, checkpoint: Checkpoint, *, with_curve: bool = True) -> None:
    """Write every derived file of a run anew from its state.

    Args:
        folder: an existing run folder.
        checkpoint: the run's state.
        with_curve: draw the loss curve too, which takes a fraction of a second.

    Raises:
        RunError: the folder can't be written, or the disk is full.
    """
    for name in DERIVED:
        _refuse_folder(folder / name)
    progress = checkpoint.progress
    config = describe(checkpoint)
    lines = [json.dumps(record) + "\n" for record in progress.metrics]
    with os_errors_as(RunError, f"can't write into {folder} (its {CONFIG} or beside it)"):
        weights = progress.best_weights
        if weights is not None:
            write_bytes(folder / WEIGHTS, save(weights))
        remove_older(folder, checkpoint)
        write_text(folder / CONFIG, json.dumps(config, indent=1, ensure_ascii=False) + "\n")
        write_text(folder / METRICS, "".join(lines))
        write_text(folder / CARD, model_card.render(folder.resolve().name, config))
        if progress.metrics and with_curve:
            write_bytes(folder / CURVE, curve.draw(progress.metrics))


def remove_older(folder: Path, checkpoint: Checkpoint) -> None:
    """Remove what can only be of a run that was overwritten, and the report of one that goes on.

    Raises:
        OSError: the folder can't be written.
    """
    progress = checkpoint.progress
    if progress.best_weights is None:
        for name in DERIVED:
            (folder / name).unlink(missing_ok=True)
    if not progress.finished:
        for name in report_files.ALL:
            (folder / name).unlink(missing_ok=True)


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """The content of `config.json`."""
    setup, progress = checkpoint.setup, checkpoint.progress
    return {
        "format": FORMAT,
        "model": as_dict(setup.model),
        "normalisation": setup.normalisation.as_dict(),
        "rare": setup.rare.as_dict(),
        "vocabulary": list(setup.vocabulary),
        "initial": list(setup.initial),
        "training": as_dict(setup.training) | _begun(setup),
        "corpus": {
            "files": [Path(name).name for name in setup.files],
            "encoding": setup.encoding,
            "sha256": setup.sha256,
        },
        "results": {
            "finished": progress.finished,
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
            "steps": progress.step,
            "total_steps": progress.total_steps,
            "seconds": round(progress.seconds, 1),
            "validation_bits_per_character": _finite(progress.best_bits),
            "test_bits_per_character": progress.test_bits,
        },
        "versions": setup.versions or versions.current(),
    }


def _begun(setup: Setup) -> dict[str, Any]:
    return {"initialised_from": setup.initialised_from} if setup.initialised_from else {}


def load(folder: Path) -> Run:
    """Read a trained model from its run folder.

    Raises:
        RunError: the folder or a file is missing or damaged, or no epoch has been completed.
    """
    config = _read_config(folder)
    try:
        vocabulary = Vocabulary(config["vocabulary"])
        counts = np.array(config["initial"], dtype=np.float64)
        if not len(vocabulary) == config["model"]["vocabulary"] == len(counts):
            raise ValueError("vocabulary, initial and the model's sizes contradict each other")
        if not counts.sum() > 0:
            raise ValueError("initial holds no frequencies")
        model = CharLSTM(ModelConfig(**config["model"]))
        normalisation = Normalisation.from_dict(config["normalisation"])
        rare = Rare.from_dict(config.get("rare", {}))
        if rare.replacement is not None:
            vocabulary.id_of(rare.replacement)
        summary = {key: config[key] for key in ("training", "corpus", "results", "versions")}
        promised = "source" in summary["training"] or bool(summary["results"].get("epochs"))
    except (
        KeyError, TypeError, ValueError, RuntimeError, AttributeError, CharlmError
    ) as problem:  # fmt: skip
        reason = f"{problem} is missing" if isinstance(problem, KeyError) else problem
        raise RunError(f"{folder / CONFIG}: damaged: {reason}{_mending(folder)}") from problem
    _load_weights(folder, model, promised)
    initial = tuple((counts / counts.sum()).tolist())
    return Run(model.eval(), vocabulary, normalisation, initial, summary, rare)


def _load_weights(folder: Path, model: CharLSTM, promised: bool) -> None:
    """Give a model the weights of a run; `promised` where its configuration speaks of an epoch."""
    path = folder / WEIGHTS
    _refuse_folder(path)
    if not path.exists():
        if promised:
            raise RunError(f"{folder} is not whole: it has no {WEIGHTS}{_mending(folder)}")
        raise RunError(
            f"{path} is missing: no epoch has been completed yet; "
            f"continue with: charlm-train --resume --out {shlex.quote(str(folder))}"
        )
    try:
        with os_errors_as(RunError, f"can't read {path}"):
            weights = load_file(path)
    except SafetensorError as problem:
        reason = str(problem).splitlines()[0]
        raise RunError(f"{path}: damaged: {reason}{_mending(folder)}") from problem
    if different := _disagreement(weights, model.state_dict()):
        raise RunError(f"{path}: of another model than {CONFIG}: {different}{_mending(folder)}")
    model.load_state_dict(weights)


def _disagreement(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> str:
    """The first tensor that is not as a model has it; empty if all are."""
    for name in sorted(found.keys() | wanted.keys()):
        if name not in found:
            return f"it has no {name}"
        if name not in wanted:
            return f"it has {name}, which the model has not"
        if found[name].shape != wanted[name].shape:
            return f"{name} is {list(found[name].shape)}, not {list(wanted[name].shape)}"
    return ""


def _mending(folder: Path) -> str:
    """How to have a run's derived files again, to stand after what is wrong with them."""
    if (folder / STATE).is_file():
        again = f"charlm-train --resume --out {shlex.quote(str(folder))}"
        return f"; have it written anew with: {again}"
    return f"; there is no {STATE} to write it anew from: bring back a copy, or train again"


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise RunError(f"{path}: a folder is where a file should be: move it away")


def newest(root: Path = Path("runs"), holding: str = CONFIG) -> Path:
    """The run under `root` that was written last.

    Args:
        root: folder of run folders.
        holding: the file that makes a folder a run, and whose age counts.

    Raises:
        RunError: there is none.
    """
    found = sorted(root.glob(f"*/{holding}"), key=lambda path: path.stat().st_mtime)
    if not found:
        option = "--run" if holding == CONFIG else "--out"
        raise RunError(
            f"no run under {root}/: train one with charlm-train, or name its folder with {option}"
        )
    return found[-1].parent


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    _refuse_folder(path)
    if not path.exists():
        if (folder / STATE).is_file():
            raise RunError(f"{folder} is not whole: it has no {CONFIG}{_mending(folder)}")
        raise RunError(f"{folder} is not a run folder: it has no {CONFIG}")
    try:
        with os_errors_as(RunError, f"can't read {path}"):
            config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise RunError(f"{path}: damaged: {problem}{_mending(folder)}") from problem
    if not isinstance(config, dict) or "format" not in config:
        raise RunError(f"{path}: not a run's configuration{_mending(folder)}")
    check_format(path, config["format"], FORMAT)
    return config


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
