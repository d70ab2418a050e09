"""Whether a run folder can be read, file by file, and whether two runs are the same bit for bit."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from charlm.train.runs import checkpoint, run_folder
from charlm.train.runs.checkpoint import Checkpoint

COMPARED = ("weights", "best_weights", "optimiser", "schedule", "rng", "carried")
FIGURES = ("step", "epoch", "best_bits", "best_epoch", "test_bits", "finished")
TIMED = ("seconds", "characters_per_second")  # of a record: no two runs take as long


def unreadable(folder: Path) -> str | None:
    """What in a run folder its readers can't read; None if all is well.

    A file that is not there is no error: the run may have been struck before it was first written.
    """
    for name, read in (
        (checkpoint.FILE, lambda path: Checkpoint.load(path.parent)),
        (run_folder.WEIGHTS, load_file),
        (run_folder.CONFIG, lambda path: json.loads(path.read_text(encoding="utf-8"))),
        (run_folder.METRICS, _read_metrics),
        (run_folder.CARD, lambda path: path.read_text(encoding="utf-8")),
        (run_folder.CONFIG, _read_model),
    ):
        path = folder / name
        try:
            if path.exists():
                read(path)
        except Exception as problem:  # whatever it is, the file can't be read
            return f"{name}: {problem}"
    return None


def _read_metrics(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _read_model(config: Path) -> None:
    if config.with_name(run_folder.WEIGHTS).exists():
        run_folder.load_run(config.parent)


def difference(folder: Path, reference: Path) -> str | None:
    """Where a finished run differs from another in anything but time; None if nowhere."""
    ours, theirs = (each / run_folder.WEIGHTS for each in (folder, reference))
    if ours.read_bytes() != theirs.read_bytes():
        return run_folder.WEIGHTS
    one, other = Checkpoint.load(folder).progress, Checkpoint.load(reference).progress
    for name in COMPARED:
        if where := _unequal(getattr(one, name), getattr(other, name), name):
            return where
    for name in FIGURES:
        if getattr(one, name) != getattr(other, name):
            return name
    if list(map(_untimed, one.metrics)) != list(map(_untimed, other.metrics)):
        return "metrics"
    names = [sorted(path.name for path in each.iterdir()) for each in (folder, reference)]
    return None if names[0] == names[1] else f"the files: {names[0]}, not {names[1]}"


def _untimed(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in TIMED}


def _unequal(one: Any, other: Any, where: str) -> str | None:
    """The first place at which two states differ."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return None if torch.equal(one, other) else where
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        pairs = [(f"{where}.{key}", one[key], other[key]) for key in one]
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            return where
        pairs = [(f"{where}.{n}", *pair) for n, pair in enumerate(zip(one, other, strict=True))]
    else:
        return None if one == other else where
    return next((found for at, a, b in pairs if (found := _unequal(a, b, at))), None)
