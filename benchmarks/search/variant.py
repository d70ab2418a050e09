"""One trial of the search: what is trained and how, and what it came to."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from charlm.data.errors import SettingsError
from charlm.data.files import os_errors_as

SHARES = (
    "beta2", "drop_input", "drop_output", "drop_locked", "drop_recurrent", "drop_head", "average",
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """What one trial trains. The defaults are where the search stood when it went wide."""

    hidden: int = 192
    layers: int = 1
    embedding: int = 0  # features of an embedded input; 0: the characters one-hot
    tied: bool = False  # the head's matrix is the embedding's, behind a projection
    norm: Literal["none", "output", "cell"] = "none"  # layer norm; cell: also before the tanh
    forget_bias: float = 1.0
    optimiser: Literal["muon", "muon-whole", "adam"] = "muon"  # whole: all four gates as one
    lr: float = 0.064  # Adam's
    muon_lr: float = 0.02
    beta2: float = 0.999  # Adam's
    weight_decay: float = 0.0  # decoupled, at the schedule's rate, on matrices
    clip: float = 1.0  # the gradient's norm
    schedule: Literal["one-cycle", "linear", "hold"] = "one-cycle"  # hold: then 40 % linear
    warm_up: float = 0.3  # share of the steps
    epochs: int = 2
    batch: int = 16
    window: int = 96
    reset: Literal["epoch", "never", "random"] = "epoch"  # random: one stream in 50 a window
    rotate: bool = False  # each epoch begins elsewhere in every stream
    drop_input: float = 0.0  # whole characters
    drop_output: float = 0.0  # a new mask for each character
    drop_locked: float = 0.0  # one mask for a window (variational: Gal and Ghahramani, 2016)
    drop_recurrent: float = 0.0  # of the recurrent weights, a window (Merity et al., 2017)
    drop_head: float = 0.0  # of the weights from units to characters, a window
    average: float = 0.0  # decay of a moving average of the weights, which is then judged
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("hidden", "layers", "epochs", "batch", "window", "lr", "muon_lr", "clip"):
            if not 0 < getattr(self, name) < float("inf"):
                raise SettingsError(f"{name}={getattr(self, name)}: it is above 0")
        for name in SHARES:
            if not 0 <= getattr(self, name) < 1:
                raise SettingsError(f"{name}={getattr(self, name)}: it is at least 0 and below 1")
        for name in ("embedding", "weight_decay"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise SettingsError(f"{name}={getattr(self, name)}: it is at least 0")
        if self.tied and not self.embedding:
            raise SettingsError("tied=True: there is no embedding to tie to; add embedding=…")
        if self.norm == "cell" and self.layers > 1:
            raise SettingsError(f"norm=cell,layers={self.layers}: norm=cell has one layer only")
        if self.drop_head and (self.tied or self.norm == "output"):
            raise SettingsError(f"drop_head={self.drop_head}: only of a head that is one matrix")

    def __str__(self) -> str:
        """The settings that are not the default, as `parse` reads them."""
        plain = Variant()
        said = [
            f"{f.name}={getattr(self, f.name)}"
            for f in fields(self)
            if getattr(self, f.name) != getattr(plain, f.name)
        ]
        return ",".join(said) or "defaults"


@dataclass(frozen=True)
class Result:
    """What a trial came to: bits per character with the state carried, and its cost."""

    variant: Variant
    train_bits: float  # over the last epoch, while learning, dropout and all
    validation_bits: float
    test_bits: float | None  # of final rows alone
    cpu_seconds: float  # of training; judging is not counted
    cpu: str
    parameters: int
    learnt: int = 90  # percent of the text


def parse(text: str) -> Variant:
    """The variant that `name=value,name=value` describes; `defaults` for none.

    Raises:
        SettingsError: a name or a value that no variant has.
    """
    given: dict[str, Any] = {}
    types = {f.name: f.type for f in fields(Variant)}
    for part in filter(None, text.replace("defaults", "").split(",")):
        name, _, value = part.partition("=")
        if name not in types:
            raise SettingsError(f"{name}: no setting of a trial; there are {', '.join(types)}")
        given[name] = _value(types[name], name, value)
    return Variant(**given)


def append(to: Path, result: Result) -> None:
    """Add one line to a file of results."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with to.open("a") as out:
        out.write(json.dumps(asdict(result)) + "\n")


def read(path: Path) -> list[Result]:
    """All results of a file, in the order of the trials."""
    with os_errors_as(SettingsError, f"can't read {path}"):
        text = path.read_text(encoding="utf-8", errors="replace")
    try:
        lines = [json.loads(line) for line in text.splitlines()]
        return [Result(**(line | {"variant": Variant(**line["variant"])})) for line in lines]
    except (ValueError, TypeError, KeyError) as problem:
        raise SettingsError(f"{path}: no results of a search: {problem}") from problem


def _value(kind: Any, name: str, value: str) -> Any:
    try:
        if kind is bool:
            return {"True": True, "False": False}[value]
        if kind in (int, float):
            return kind(value)
    except (KeyError, ValueError) as error:
        raise SettingsError(f"{name}={value}: not a value of {kind.__name__}") from error
    if value not in get_args(kind):
        raise SettingsError(f"{name}={value}: one of {', '.join(get_args(kind))}")
    return value
