"""Lines to run: a training like a run's with other options, going on with it, and its texts."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import torch

from charlm.data.text.corpus import SAMPLE
from charlm.data.text.rare import MAX_VOCABULARY, MIN_COUNT, REPLACEMENT
from charlm.train.config import ADAM_LR, NOTEBOOK_DEFAULTS, TrainingConfig
from charlm.train.report.subject import Subject
from charlm.train.setup import defaults
from charlm.train.setup.source import shipped

KEPT = (
    "batch_size", "seq_len", "optimiser", "lr", "muon_lr", "clip", "patience", "seed", "threads",
    "autocast", "step",
)  # fmt: skip
OUT = "--out"
FLAGS = ("final", "tf32")


def generate(subject: Subject, options: str) -> str:
    """A command that draws from the run with other options; it is exported before."""
    model = shlex.quote(f"{subject.folder.resolve().name}.onnx")
    run = shlex.quote(_from_here(subject.folder))
    return f"charlm-export ./{model} --run {run} && charlm-gen {options} --model ./{model}"


def resume(subject: Subject) -> str:
    """A command that goes on with a run that was stopped."""
    return f"charlm-train --resume --out {shlex.quote(_from_here(subject.folder))}"


def budget(subject: Subject, read: float, times: float) -> dict[str, object]:
    """So many times as long as it trained, which was `read` epochs, in its user's terms."""
    minutes: float | None = subject.training.get("minutes")
    epochs: int | None = subject.training.get("epochs")
    found: dict[str, object] = {}
    if minutes:
        found["minutes"] = f"{minutes * times:.2g}"
    if epochs or not minutes:
        done = epochs if epochs and minutes else read
        found["epochs"] = max(1, round(done * times))
    return found


def train_again(subject: Subject, **options: object) -> str:
    """A command that trains on the same text with other options; it lacks but the folder's name.

    Empty where the weights that the run began with are no longer to be found.
    """
    given = dict(options)
    training, model = subject.training, subject.run.model.config
    begun, recipe = training.get("initialised_from"), training["recipe"]
    sizes = {"hidden": (model.hidden, 192), "layers": (model.layers, 1)}
    kept: dict[str, object] = {}
    if begun and not given.keys() & {"init_from", *sizes}:
        if (source := _source(subject, begun["name"])) is None:
            return ""
        kept = {"init_from": source} | _of_the_training(training, rates=4)  # it says the sizes
    elif "init_from" not in given:
        kept = {name: own for name, (own, usual) in sizes.items() if own != usual}
        kept |= _of_the_text(subject)
        # What was right for weights that had learnt is not for those that are drawn.
        if not begun and given.get("recipe", "stateful") == recipe:
            kept |= _of_the_training(training) | _held_back(subject)
    if not given.keys() & {"minutes", "epochs"} and (not begun or "init_from" in kept):
        lengths = ("minutes",) if "init_from" in given else ("minutes", "epochs")
        kept |= {name: training[name] for name in lengths if training.get(name)}
    given = kept | given
    if training["device"] == "cpu" and torch.cuda.is_available():
        given["device"] = "cpu"
    encoding = subject.run.summary["corpus"].get("encoding") or "utf-8"
    if encoding != "utf-8":
        given["encoding"] = encoding
    if training.get("recipe") == "notebook":
        given.setdefault("recipe", "stateful")
    words = ["charlm-train", *map(shlex.quote, _named(subject.files))]
    for name, value in given.items():
        words.append(f"--{name.replace('_', '-')}")
        if value is not None:
            words.append(shlex.quote(str(value)))
    return " ".join([*words, OUT])


def free_folders(subject: Subject) -> Iterator[str]:
    """Run folders that are not there yet, quoted."""
    name = subject.folder.resolve().name
    folders = (Path("runs") / f"{name}-{number}" for number in count(2))
    return (shlex.quote(str(each)) for each in folders if not each.exists())


def _held_back(subject: Subject) -> dict[str, object]:
    """Dropout and weight decay where they are not by the rule, which has others for another run."""
    training, model = subject.training, subject.run.model.config
    if training["recipe"] != "stateful":
        return {}
    own = {
        "dropout": model.dropout,
        "output_dropout": model.output_dropout,
        "weight_decay": training.get("weight_decay") or 0.0,
    }
    plain = TrainingConfig(
        epochs=training["epochs"], minutes=training["minutes"], passes=training.get("passes")
    )
    ruled = defaults.fill_in(model, plain, len(subject.splits.train))
    by_rule = asdict(ruled[0]) | asdict(ruled[1])
    return {name: value for name, value in own.items() if value != by_rule[name]}


def _of_the_training(training: dict[str, Any], rates: float = 1) -> dict[str, object]:
    """Settings of a run that its recipe has otherwise; the usual rates are so many times lower."""
    usual = asdict(TrainingConfig())
    if training["recipe"] == "notebook":
        usual |= NOTEBOOK_DEFAULTS
    elif training["optimiser"] == "adam":
        usual["lr"] = ADAM_LR
    usual |= {name: usual[name] / rates for name in ("lr", "muon_lr")}
    found: dict[str, object] = {
        name: training[name] for name in KEPT if training.get(name) not in (None, usual[name])
    }
    return found | {name: None for name in FLAGS if training.get(name)}


def _of_the_text(subject: Subject) -> dict[str, object]:
    """How the text was read, where that is not the default."""
    normalisation = subject.run.normalisation
    read = {"case": normalisation.case, "newlines": normalisation.newlines}
    found: dict[str, object] = {name: said for name, said in read.items() if said != "keep"}
    if not normalisation.nfc:
        found["no_nfc"] = None
    rare = subject.run.rare
    if rare.policy == "drop" or rare.replacement not in (None, REPLACEMENT):
        found["rare"] = rare.unknown
    if rare.policy != "error" and rare.min_count != MIN_COUNT:
        found["min_count"] = rare.min_count
    if rare.policy != "error" and rare.max_vocabulary != MAX_VOCABULARY:
        found["max_vocabulary"] = rare.max_vocabulary
    return found


def _named(texts: Sequence[Path]) -> list[str]:
    """How a command names them: from where the user is, and not at all what ships."""
    if [path.resolve() for path in texts] == [SAMPLE.resolve()]:
        return []
    return [_from_here(path) for path in texts]


def _source(subject: Subject, name: str) -> str | None:
    """The weights that a run began with, which it knows by name alone: often they lie beside it.

    None where they are neither there, nor here, nor a model that ships.
    """
    for path in (subject.folder.resolve().parent / name, Path(name)):
        if path.exists():
            return _from_here(path)
    model = shipped(Path(Path(name).stem))
    return model.stem if model.name == name and model.exists() else None


def _from_here(path: Path) -> str:
    """A path from where the user is, which no command takes for an option."""
    here, path = Path.cwd(), path.resolve()
    inside = str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
    return f"./{inside}" if inside.startswith("-") else inside
