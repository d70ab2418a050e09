"""The settings of a training run, with the reason for each default beside it."""

import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypedDict, cast

from charlm.data import MAX_HIDDEN, MAX_LAYERS
from charlm.data.system.cores import check_threads
from charlm.data.system.errors import SettingsError

CHOICES = {
    "recipe": ("stateful", "notebook"),
    "optimiser": ("muon", "adam"),
    "autocast": ("none", "bf16"),
    "step": ("eager", "compiled", "graph"),
    "device": ("auto", "cpu", "cuda"),
}
WINDOW = 40  # characters before each target of the notebook
STRIDE = 3  # characters from one of the notebook's windows to the next
SEEDS = 2**63  # what every generator takes, with room for an epoch's number on top
MAX_EPOCHS, MAX_MINUTES = 10**9, 1e7  # more than anyone has, and less than arithmetic minds
MAX_RATE = 1e18  # no use past 1, and the product of two must fit into float32
LIMITS: dict[str, tuple[int, float]] = {
    "hidden": (1, MAX_HIDDEN), "layers": (1, MAX_LAYERS), "epochs": (1, MAX_EPOCHS),
    "batch_size": (1, math.inf), "seq_len": (1, math.inf), "patience": (0, math.inf),
    "seed": (0, math.inf), "weight_decay": (0, MAX_RATE),
}  # fmt: skip
MOST_ABOVE_ZERO = {
    "minutes": MAX_MINUTES, "lr": MAX_RATE, "muon_lr": MAX_RATE, "clip": sys.float_info.max
}  # fmt: skip


@dataclass(frozen=True)
class ModelConfig:
    """The sizes that fix a model's shape."""

    vocabulary: int
    hidden: int = 192  # the notebook's; the step's weights then stay in a core's cache
    layers: int = 1  # a second layer costs twice the time of a step
    dropout: float = 0.0  # of the weights between units; a run has it by its corpus (`defaults`)
    output_dropout: float = 0.0  # of the weights from units to characters; likewise

    @property
    def parameters(self) -> int:
        """How many numbers an exported model has: of a layer's two biases it keeps the sum, the
        first layer's in its table of characters.
        """
        recurrent, gates = 4 * self.hidden**2, 4 * self.hidden
        layers = self.layers * recurrent + (self.layers - 1) * (recurrent + gates)
        return layers + self.vocabulary * gates + (self.hidden + 1) * self.vocabulary

    def __post_init__(self) -> None:
        _check_limits(self)
        for name, share in (("dropout", self.dropout), ("output_dropout", self.output_dropout)):
            if not 0 <= share < 1:
                raise SettingsError(f"`{name}` is at least 0 and below 1, not {share}")


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained. Together with the corpus it fixes the result bit for bit on CPU."""

    recipe: Literal["stateful", "notebook"] = "stateful"
    epochs: int | None = None  # as many as fit into minutes, or else by the corpus
    minutes: float | None = None  # a budget; the number of steps is fixed from it once
    passes: int | None = None  # that minutes seemed to allow (`budget`): dropout goes by them
    batch_size: int = 16  # many small steps beat few large ones at this model's size
    seq_len: int = 96  # gradients reach this far back; the state reaches further
    optimiser: Literal["muon", "adam"] = "muon"  # 0.15 bits less after one epoch than Adam alone
    lr: float = 0.064  # Adam's, at the peak of the schedule; `ADAM_LR` without Muon
    muon_lr: float = 0.05  # Muon's
    weight_decay: float = 0.0  # decoupled, of matrices; a run has it by its corpus (`defaults`)
    clip: float = 1.0  # the gradient's norm; recurrent gradients have rare, huge spikes
    patience: int = 5  # epochs without a better validation before stopping; 0: never stop
    final: bool = False  # train on the first 95 %, nothing held out to choose by
    seed: int = 0
    device: Literal["cpu", "cuda"] = "cpu"
    autocast: Literal["none", "bf16"] = "none"  # bf16: a GPU's fastest products
    step: Literal["eager", "compiled", "graph"] = "eager"  # until another measures better on a GPU
    tf32: bool = False  # products of a GPU with ten bits of mantissa
    threads: int = 1  # a second makes 1.5 of it on free cores, and half of it on busy ones

    def __post_init__(self) -> None:
        for name in ("recipe", "optimiser", "autocast", "step"):
            check_choice(name, getattr(self, name))
        for_gpus = {
            "`step` graph": self.step == "graph",
            f"`autocast` {self.autocast}": self.autocast != "none",
            "`tf32`": self.tf32,
        }
        if self.device == "cpu" and (said := [name for name, used in for_gpus.items() if used]):
            raise SettingsError(f"{said[0]} is for a GPU, and this run is on the CPU: leave it out")
        _check_limits(self)
        if self.seed >= SEEDS:
            raise SettingsError(f"`seed` is below 2^63, not {self.seed}")
        check_threads(self.threads)


class Options(TypedDict, total=False):
    """What a user says of the settings above: nothing of those that go by defaults."""

    hidden: int
    layers: int
    dropout: float
    output_dropout: float
    recipe: Literal["stateful", "notebook"]
    epochs: int
    minutes: float
    batch_size: int
    seq_len: int
    optimiser: Literal["muon", "adam"]
    lr: float
    muon_lr: float
    weight_decay: float
    clip: float
    patience: int
    final: bool
    seed: int
    device: Literal["auto", "cpu", "cuda"]
    autocast: Literal["none", "bf16"]
    step: Literal["eager", "compiled", "graph"]
    tf32: bool
    threads: int


def check_names(options: Mapping[str, Any]) -> None:
    """Raises `SettingsError` where there is no setting of some name."""
    if unknown := options.keys() - Options.__annotations__.keys():
        raise SettingsError(
            f"there is no setting {min(unknown)!r}; there are {', '.join(Options.__annotations__)}"
        )


def options_said(values: Mapping[str, Any]) -> Options:
    """The settings among some values, but for those that are None: nothing was said of them."""
    said = {name: value for name, value in values.items() if value is not None}
    return cast(Options, {name: said[name] for name in Options.__annotations__ if name in said})


ADAM_LR = 0.032  # of a stateful run that Adam alone trains; 0.064 is better for one epoch only

NOTEBOOK_DEFAULTS: dict[str, Any] = {
    "epochs": 10, "optimiser": "adam", "batch_size": 192, "seq_len": WINDOW, "lr": 1e-3,
}  # fmt: skip
"""What `--recipe notebook` uses where the user names nothing else."""

NOTEBOOK_HAS: dict[str, Any] = {
    "optimiser": "adam", "muon_lr": None, "clip": None, "weight_decay": None,
}  # fmt: skip
"""What nobody can choose in `--recipe notebook`: it has Adam, and limits nothing."""


def as_dict(config: ModelConfig | TrainingConfig) -> dict[str, Any]:
    """The JSON form of a configuration; what its recipe does not have is null."""
    values = asdict(config)
    return values | NOTEBOOK_HAS if values.get("recipe") == "notebook" else values


def regularisation(model: ModelConfig, weight_decay: float | None) -> list[str]:
    """What holds a model back from learning its text by heart, each as `name value`."""
    values = {
        "dropout": model.dropout,
        "output dropout": model.output_dropout,
        "weight decay": weight_decay or 0.0,
    }
    return [f"{name} {value:g}" for name, value in values.items() if value]


def differences(
    old: TrainingConfig | ModelConfig, new: TrainingConfig | ModelConfig
) -> dict[str, str]:
    """The settings in which two configurations differ, by field: what was, and what is now."""
    found = {}
    for field in fields(old):
        was, now = getattr(old, field.name), getattr(new, field.name)
        if was != now:
            was, now = ("none" if each is None else each for each in (was, now))
            found[field.name] = f"`{field.name}` {was}, not {now}"
    return found


def check_choice(name: str, value: str) -> None:
    """Raises `SettingsError` where a setting is none of its `CHOICES`."""
    if value not in CHOICES[name]:
        raise SettingsError(f"`{name}` is one of {', '.join(CHOICES[name])}, not {value!r}")


def _check_limits(config: ModelConfig | TrainingConfig) -> None:
    """The numbers of a configuration are inside `LIMITS`; None stands for a default."""
    for name, (least, most) in LIMITS.items():
        value = getattr(config, name, None)
        if value is not None and (not least <= value <= most or value == math.inf):
            limits = f"at least {least}" if most == math.inf else f"from {least} to {most}"
            raise SettingsError(f"`{name}` is {limits}, not {value}")
    for name, most in MOST_ABOVE_ZERO.items():
        value = getattr(config, name, None)
        if value is not None and not 0 < value < math.inf:
            raise SettingsError(f"`{name}` is a number above 0, not {value}")
        if value is not None and value > most:
            raise SettingsError(f"`{name}` is at most {most:g}, not {value:g}")
