"""Whether what was read from a run's files is what was written, before anything of it is used."""

import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, Literal, Required, TypedDict, Union, get_type_hints, is_typeddict

import torch
from torch import Tensor

from charlm.data.text.normalise import Normalisation
from charlm.data.text.rare import Rare
from charlm.data.text.vocabulary import Vocabulary
from charlm.train.config import ModelConfig
from charlm.train.model import CharLSTM, shapes
from charlm.train.optim.optimisers import Muon, Optimisers, make_optimiser
from charlm.train.runs.checkpoint import Begun, Progress, Setup

REMEMBERED = {False: ("exp_avg", "exp_avg_sq", "step"), True: ("momentum",)}
"""What an optimiser keeps of a parameter: Adam, and Muon."""


class Training(TypedDict, total=False):
    """The settings of a run that charlm trained: what is read of them; an imported one has few."""

    recipe: Required[str]
    device: Required[str]
    batch_size: Required[int]
    seq_len: Required[int]
    lr: Required[float]
    seed: Required[int]
    epochs: Required[int | None]
    minutes: Required[float | None]
    passes: int | None
    optimiser: str
    muon_lr: float | None
    weight_decay: float | None
    final: bool
    initialised_from: Begun


class ImportedTraining(TypedDict, total=False):
    """What is read of a model that `charlm-import` brought."""

    recipe: Required[str]
    source: Required[str]
    seq_len: int | None
    file: str


class CorpusOrigin(TypedDict, total=False):
    """The text of a run."""

    files: list[str]
    encoding: str | None
    sha256: str | None


class Results(TypedDict, total=False):
    """How the training ended, with seconds and bits per character."""

    finished: Required[bool]
    epochs: Required[float]
    steps: Required[int]
    seconds: Required[float]
    validation_bits_per_character: float | None
    test_bits_per_character: float | None


class Config(TypedDict, total=False):
    """What `config.json` has to hold; what an imported model has of it, or else more."""

    model: Required[ModelConfig]
    normalisation: Required[Normalisation]
    rare: Rare
    vocabulary: Required[list[str]]
    initial: Required[list[float]]
    training: Required[Training]
    corpus: Required[CorpusOrigin]
    results: Required[Results]
    versions: Required[dict[str, str]]


class ImportedConfig(Config):
    """Of an imported model, of whose training nobody knows."""

    training: Required[ImportedTraining]  # type: ignore[misc]
    results: Required[dict[str, Any]]  # type: ignore[misc]


class _SavedPart(TypedDict):
    state: dict[int, dict[str, Tensor]]
    param_groups: list[dict[str, Any]]


class _Saved(TypedDict):
    parts: list[_SavedPart]


NAMES = {int: "a whole number", float: "a finite number", str: "a text", bool: "true or false",
         dict: "an object", list: "a list", type(None): "null"}  # fmt: skip


def check_types(value: Any, hint: Any, where: str) -> None:
    """Whether what was read from a file is what a type hint says, with all that is in it.

    Args:
        value: of JSON, or of `torch.load`; also a dataclass made from that.
        hint: a class, a TypedDict, a dataclass, or a union, dict, list, tuple or Literal of such.
        where: what to call it; empty for a whole object, whose parts have names of their own.

    Raises:
        ValueError: names the part that is missing or of another type, or a float not finite.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, UnionType):
        fitting = [
            each for each in inner if isinstance(value, typing.get_origin(each) or _plain(each))
        ]
        if not fitting:
            raise ValueError(f"{where} is not {' or '.join(map(_named, inner))}: {_shown(value)}")
        check_types(value, fitting[0], where)
    elif origin is Literal:
        if value not in inner:
            raise ValueError(f"{where} is not one of {', '.join(map(str, inner))}: {_shown(value)}")
    elif not _is(value, _plain(origin or hint)):
        raise ValueError(f"{where} is not {_named(hint)}: {_shown(value)}")
    elif is_typeddict(hint) or is_dataclass(hint):
        found = value if isinstance(value, dict) else vars(value)
        for name, each in get_type_hints(hint).items():
            part = f"{where}.{name}".removeprefix(".")
            if name in found:
                check_types(found[name], each, part)
            elif name in getattr(hint, "__required_keys__", ()):
                raise ValueError(f"{part} is missing")
    elif origin is dict:
        for name, each in value.items():
            check_types(name, inner[0], f"a name in {where}")
            check_types(each, inner[1], f"{where}.{name}")
    elif origin in (list, tuple):
        many = origin is list or inner[-1] is Ellipsis
        if not many and len(value) != len(inner):
            raise ValueError(f"{where} has {len(value)} parts, not {len(inner)}")
        for number, each in enumerate(value):
            check_types(each, inner[0] if many else inner[number], f"{where}[{number}]")


def check_tensors(
    found: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]], where: str
) -> None:
    """Whether tensors are finite float32 of the shapes that are wanted, no more and no fewer.

    Raises:
        ValueError: names the first that is not.
    """
    of = f"{where}: " if where else ""
    for name in sorted(found.keys() | wanted.keys()):
        if name not in found:
            raise ValueError(f"{where or 'it'} has no {name}")
        if name not in wanted:
            raise ValueError(f"{where or 'it'} has {name}, which the model has not")
        if tuple(found[name].shape) != wanted[name]:
            shape = list(found[name].shape)
            raise ValueError(f"{of}{name} is {shape}, not {list(wanted[name])}")
        if found[name].dtype != torch.float32:
            raise ValueError(f"{of}{name} is {found[name].dtype}, not {torch.float32}")
        if not found[name].isfinite().all():
            raise ValueError(f"{of}{name} holds numbers that are not finite")


def check_setup(setup: Setup) -> None:
    """Whether the setup of a training state is whole; a `ValueError`."""
    check_types(setup, Setup, "setup")
    check_characters(setup.vocabulary, setup.initial, setup.model.vocabulary, setup.rare)


def check_characters(
    characters: Sequence[str], initial: Sequence[float], size: int, rare: Rare
) -> None:
    """Whether a model's characters, how frequent each is, and its size fit together.

    Raises:
        ValueError: they don't.
        VocabularyError: the characters are none, or lack what stands for rare ones.
    """
    known = Vocabulary(characters)
    if list(known.characters) != list(characters):
        raise ValueError("vocabulary is not distinct and in order")
    if not len(known) == size == len(initial):
        raise ValueError("vocabulary, initial and the model's sizes contradict each other")
    if min(initial) < 0 or not 0 < sum(initial) < math.inf:
        raise ValueError("initial holds no frequencies")
    if rare.replacement is not None:
        known.id_of(rare.replacement)


def check_progress(setup: Setup, progress: Progress) -> None:
    """Whether `progress` has all that going on with a run of `setup` takes; a `ValueError`."""
    check_types(progress, Progress, "progress")
    for name, value in vars(progress).items():
        if isinstance(value, int | float) and value < 0:
            raise ValueError(f"progress.{name} is below 0")
    if (progress.best_weights is None) != (progress.epoch == 0):
        raise ValueError("progress.epoch and best_weights contradict each other")
    total, step = progress.total_steps, progress.step
    began = progress.epoch or progress.step_in_epoch
    if (total is not None and step >= total + bool(began)) or (progress.finished and not began):
        raise ValueError("progress.step, total_steps and epoch contradict each other")
    wanted = shapes(setup.model)
    check_tensors(progress.weights, wanted, "progress.weights")
    if progress.best_weights is not None:
        check_tensors(progress.best_weights, wanted, "progress.best_weights")
    if progress.carried is not None:
        shape = (setup.model.layers, setup.training.batch_size, setup.model.hidden)
        carried = dict(zip("hc", progress.carried, strict=True))
        check_tensors(carried, {"h": shape, "c": shape}, "progress.carried")
    rng = progress.rng
    if rng.dtype != torch.uint8 or rng.dim() != 1:
        raise ValueError("progress.rng is not a generator's state")
    if setup.training.device == "cpu":
        torch.Generator().set_state(rng)
    with torch.device("meta"):
        model = CharLSTM(setup.model)
    model.to_empty(device="cpu")  # memory that is never written to takes none
    check_optimiser(make_optimiser(model, setup.training), progress.optimiser, begun=step > 0)


def check_optimiser(optimiser: Optimisers, state: dict[str, Any], begun: bool) -> None:
    """Whether `load_state_dict` can take what was read from a file, and steps follow on it.

    Args:
        optimiser: of the run's model and settings.
        state: what `state_dict` gave, or a damaged file.
        begun: steps have been taken, so that there is something to remember.

    Raises:
        ValueError: something is missing, of another type or shape, or not finite.
    """
    check_types(state, _Saved, "optimiser")
    if len(state["parts"]) != len(optimiser.parts):
        raise ValueError(f"optimiser has {len(state['parts'])} parts, not {len(optimiser.parts)}")
    for part, saved in zip(optimiser.parts, state["parts"], strict=True):
        own = part.state_dict()["param_groups"]
        if len(own) != len(saved["param_groups"]):
            raise ValueError("optimiser.param_groups are not as many as the optimiser's")
        for group, found in zip(own, saved["param_groups"], strict=True):
            _check_group(group, found)
        parameters = [each for group in part.param_groups for each in group["params"]]
        if saved["state"].keys() != set(range(len(parameters) if begun else 0)):
            raise ValueError("optimiser.state is not of the model's parameters")
        for number, found in saved["state"].items():
            shape = tuple(parameters[number].shape)
            remembered = REMEMBERED[isinstance(part, Muon)]
            wanted = {name: () if name == "step" else shape for name in remembered}
            check_tensors(found, wanted, f"optimiser.state[{number}]")


def _check_group(own: dict[str, Any], found: dict[str, Any]) -> None:
    """Whether a group that was saved is the optimiser's own; flags of a later Torch may lack."""
    for name, value in own.items():
        if name not in found and not (value is None or isinstance(value, bool)):
            raise ValueError(f"optimiser.param_groups: {name} is missing")
        if name in ("lr", "peak", "weight_decay"):
            check_types(found[name], float, name)
            if found[name] < 0 or (name == "peak" and not found[name]):
                raise ValueError(f"optimiser.param_groups: {name} is {found[name]}")
        elif name == "capturable":  # on a GPU alone
            check_types(found.get(name, value), bool, name)
        elif name in found and (type(found[name]) is not type(value) or found[name] != value):
            raise ValueError(f"optimiser.param_groups: {name} is {found[name]!r}, not {value!r}")


def _plain(hint: Any) -> Any:
    """The class that `isinstance` takes."""
    if hint is Any:
        return object
    return dict if is_typeddict(hint) else (int, float) if hint is float else hint


def _is(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):  # an int, to Python
        return kind in (bool, object)
    if kind == (int, float):
        return isinstance(value, kind) and abs(value) < 1e300 and math.isfinite(value)
    return isinstance(value, kind)


def _named(hint: Any) -> str:
    hint = typing.get_origin(hint) or (dict if is_typeddict(hint) else hint)
    return NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def _shown(value: object) -> str:
    return repr(value)[:60]
