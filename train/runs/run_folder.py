"""The files of a run folder that are derived from its training state, and reading them back."""

import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from charlm.data.system.errors import CharlmError, RunError
from charlm.data.system.files import os_errors_as, write_bytes, write_text
from charlm.data.text.normalise import Normalisation
from charlm.data.text.rare import NOTHING_RARE, Rare
from charlm.data.text.vocabulary import Vocabulary
from charlm.train.config import ModelConfig, as_dict
from charlm.train.model import CharLSTM, shapes
from charlm.train.runs import CONFIG as CONFIG
from charlm.train.runs import LOCK, STATE
from charlm.train.runs import WEIGHTS as WEIGHTS
from charlm.train.runs.checkpoint import (
    Checkpoint,
    Progress,
    Record,
    check_format,
    current_versions,
    refuse_folder,
)

FORMAT = 1
METRICS = "metrics.jsonl"
CARD = "README.md"
DERIVED = (WEIGHTS, CONFIG, METRICS, CARD)
REPORTS = ("report.html", "report.md", "report.json")  # what `charlm-report` writes


@dataclass(frozen=True)
class Run:
    """A trained model as its run folder describes it.

    Attributes:
        folder: where it stands.
        model: in evaluation mode, on the CPU.
        initial: relative frequency of each character in the training part.
        summary: JSON object on how it was trained and how good it is.
        rare: what became of characters outside the vocabulary.
    """

    folder: Path
    model: CharLSTM
    vocabulary: Vocabulary
    normalisation: Normalisation
    initial: tuple[float, ...]
    summary: dict[str, Any]
    rare: Rare = NOTHING_RARE


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write every derived file of a run anew from its state, into an existing folder.

    Raises:
        RunError: the folder can't be written, or the disk is full.
    """
    from charlm.train.runs.card import render  # no earlier than an epoch has ended

    for name in DERIVED:
        refuse_folder(folder / name)
    progress = checkpoint.progress
    config = describe(checkpoint)
    lines = [json.dumps(record) + "\n" for record in progress.metrics]
    with os_errors_as(RunError, f"can't write into {folder} (its {CONFIG} or beside it)"):
        if progress.best_weights is not None:
            write_bytes(folder / WEIGHTS, save(progress.best_weights))
        remove_older(folder, checkpoint)
        write_text(folder / CONFIG, json.dumps(config, indent=1, ensure_ascii=False) + "\n")
        write_text(folder / METRICS, "".join(lines))
        write_text(folder / CARD, render(spelt(folder.resolve().name), config))


def remove_older(folder: Path, checkpoint: Checkpoint) -> None:
    """Remove what can only be of a run that was overwritten, and the report of one that goes on.

    Raises:
        OSError: the folder can't be written.
    """
    older: list[Path] = []
    if checkpoint.progress.best_weights is None:
        older += [folder / name for name in DERIVED]
    if not checkpoint.progress.finished:
        older += reports(folder)
    for path in older:
        path.unlink(missing_ok=True)


def reports(folder: Path) -> list[Path]:
    """The files that `charlm-report` has written there."""
    return [folder / name for name in REPORTS if (folder / name).exists()]


def read_epochs(progress: Progress, evaluations: int) -> float:
    """As `Progress.epochs_read`; a whole number as one."""
    read = progress.epochs_read(evaluations)
    return int(read) if read.is_integer() else read


def spelt(name: str) -> str:
    """A file's name as any text file can hold it: bytes that are not UTF-8 as \\xff."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """The content of `config.json`."""
    setup, progress = checkpoint.setup, checkpoint.progress
    begun = {"initialised_from": setup.initialised_from} if setup.initialised_from else {}
    return {
        "format": FORMAT,
        "model": as_dict(setup.model),
        "normalisation": setup.normalisation.as_dict(),
        "rare": setup.rare.as_dict(),
        "vocabulary": list(setup.vocabulary),
        "initial": list(setup.initial),
        "training": as_dict(setup.training) | begun,
        "corpus": {
            "files": [spelt(Path(name).name) for name in setup.files],
            "encoding": setup.encoding,
            "sha256": setup.sha256,
        },
        "results": {
            "finished": progress.finished,
            "epochs": read_epochs(progress, progress.epoch),
            "best_epoch": read_epochs(progress, progress.best_epoch),
            "steps": progress.step,
            "total_steps": progress.total_steps,
            "seconds": round(progress.seconds, 1),
            "validation_bits_per_character": progress.best_bits,
            "test_bits_per_character": progress.test_bits,
        },
        "versions": setup.versions or current_versions(),
    }


def load_run(folder: str | Path) -> Run:
    """Read a trained model from its run folder.

    Raises:
        RunError: the folder or a file is missing or damaged, or no epoch has been completed.
    """
    from charlm.train.runs import checks

    folder = Path(folder)
    config = _read_config(folder)
    try:
        config["model"] = ModelConfig(**config["model"])
        config["normalisation"] = Normalisation.from_dict(config["normalisation"])
        config["rare"] = rare = Rare.from_dict(config.get("rare", {}))
        imported = "source" in config["training"]
        checks.check_types(config, checks.ImportedConfig if imported else checks.Config, "")
        characters, counts, model = config["vocabulary"], config["initial"], config["model"]
        checks.check_characters(characters, counts, model.vocabulary, rare)
    except (
        KeyError, TypeError, ValueError, AttributeError, OverflowError, CharlmError
    ) as problem:  # fmt: skip
        reason = f"{problem} is missing" if isinstance(problem, KeyError) else problem
        raise RunError(f"{folder / CONFIG}: damaged: {reason}{_mending(folder)}") from problem
    promised = imported or bool(config["results"]["epochs"])
    total = sum(counts)
    return Run(
        folder=folder,
        model=_load_weights(folder, model, promised),
        vocabulary=Vocabulary(characters),
        normalisation=config["normalisation"],
        initial=tuple(count / total for count in counts),
        summary={key: config[key] for key in ("training", "corpus", "results", "versions")},
        rare=rare,
    )


def read_metrics(folder: Path) -> tuple[Record, ...]:
    """The evaluations of a run, in order; none where there is no `metrics.jsonl`.

    Raises:
        RunError: the file can't be read, or is damaged.
    """
    from charlm.train.runs import checks

    path = folder / METRICS
    if not path.is_file():
        return ()
    try:
        with os_errors_as(RunError, f"can't read {path}"):
            lines = path.read_text(encoding="utf-8").splitlines()
        records: list[Record] = [json.loads(line) for line in lines]
        checks.check_types(records, list[Record], "lines")
        if not all("seconds" in record for record in records):
            raise ValueError("seconds are not in every line")
    except (ValueError, RecursionError) as problem:
        raise RunError(f"{path}: damaged: {problem}{_mending(folder)}") from problem
    return tuple(records)


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
        option = "`run`" if holding in (CONFIG, WEIGHTS) else "`out`"
        raise RunError(
            f"no run under {root}/: train one with charlm-train, or name its folder with {option}"
        )
    return found[-1].parent


def without_epoch(found: Path) -> list[Path]:
    """Runs beside one with weights that are newer, and of which no epoch has ended yet."""
    since = (found / WEIGHTS).stat().st_mtime
    files = (path for name in (STATE, LOCK) for path in found.parent.glob(f"*/{name}"))
    begun = (path for path in files if not (path.parent / WEIGHTS).exists())
    return sorted({path.parent for path in begun if path.stat().st_mtime > since})


def _load_weights(folder: Path, config: ModelConfig, promised: bool) -> CharLSTM:
    """A run's model in evaluation mode; `promised` where `config.json` speaks of an epoch."""
    from charlm.train.runs import checks

    path = folder / WEIGHTS
    refuse_folder(path)
    if not path.exists():
        if promised:
            raise RunError(f"{folder} is not whole: it has no {WEIGHTS}{_mending(folder)}")
        raise RunError(
            f"{path} is missing: no epoch has been completed yet; "
            f"continue with: charlm-train --resume --out {shlex.quote(str(folder))}"
        )
    try:
        with os_errors_as(RunError, f"can't read {path}"):
            weights = load(path.read_bytes())  # by a path, one that is no UTF-8 is refused
    except SafetensorError as problem:
        reason = str(problem).splitlines()[0]
        raise RunError(f"{path}: damaged: {reason}{_mending(folder)}") from problem
    try:
        checks.check_tensors(weights, shapes(config), "")
    except ValueError as problem:
        raise RunError(
            f"{path}: damaged, or of another model than {CONFIG}: {problem}{_mending(folder)}"
        ) from problem
    model = CharLSTM(config)
    model.load_state_dict(weights)
    return model.eval()


def _mending(folder: Path) -> str:
    """How to have a run's derived files again, to stand after what is wrong with them."""
    if (folder / STATE).is_file():
        again = f"charlm-train --resume --out {shlex.quote(str(folder))}"
        return f"; have it written anew with: {again}"
    return f"; there is no {STATE} to write it anew from: bring back a copy, or train again"


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    refuse_folder(path)
    if not path.exists():
        if (folder / STATE).is_file():
            raise RunError(f"{folder} is not whole: it has no {CONFIG}{_mending(folder)}")
        raise RunError(f"{folder} is not a run folder: it has no {CONFIG}")
    try:
        with os_errors_as(RunError, f"can't read {path}"):
            config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as problem:
        raise RunError(f"{path}: damaged: {problem}{_mending(folder)}") from problem
    if not isinstance(config, dict) or "format" not in config:
        raise RunError(f"{path}: not a run's configuration{_mending(folder)}")
    check_format(path, config["format"], FORMAT)
    return config
