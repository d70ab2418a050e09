"""The settings that a request and its defaults, or a run's settings, make together."""

from dataclasses import replace
from typing import Any

import torch

from charlm.data.system.errors import SettingsError
from charlm.data.text.normalise import Normalisation
from charlm.train.config import (
    ADAM_LR,
    DEVICES,
    NOTEBOOK_DEFAULTS,
    NOTEBOOK_HAS,
    WINDOW,
    TrainingConfig,
)
from charlm.train.setup.request import Request


def training_config(
    options: dict[str, Any], base: TrainingConfig, *, begun: bool = False
) -> TrainingConfig:
    """The settings that `options` (None: not said) make of `base`.

    Args:
        options: fields by name; those of the model are passed over.
        base: what holds where nothing was said.
        begun: `base` is a run's, so that no other default may come in.
    """
    said = {
        name: value
        for name, value in options.items()
        if value is not None and name in TrainingConfig.__dataclass_fields__
    }
    wanted = said.pop("device", "auto")
    if wanted != "auto" or not begun:
        said["device"] = _device(wanted)
    defaults: dict[str, Any] = {}
    if not begun:
        if said.get("recipe") == "notebook":
            defaults |= NOTEBOOK_DEFAULTS
        elif said.get("optimiser") == "adam":
            defaults["lr"] = ADAM_LR
        if "minutes" in said:
            defaults["epochs"] = None
    elif "epochs" in said and "minutes" not in said and base.epochs is None:
        defaults["minutes"] = None  # the one limit takes the other's place
    elif "minutes" in said and "epochs" not in said and base.minutes is None:
        defaults["epochs"] = None
    if begun and said.get("device") == "cpu":  # what is for GPUs only goes with the GPU
        defaults |= {"autocast": "none", "tf32": False}
        if base.step == "graph":
            defaults["step"] = "eager"
    config = replace(base, **(defaults | said))
    if config.recipe == "notebook" and config.seq_len != WINDOW and "seq_len" in said:
        raise SettingsError(f"--recipe notebook reads windows of {WINDOW}: leave --seq-len out")
    if config.recipe == "notebook":
        _check_notebook(said)
    elif config.optimiser == "adam" and "muon_lr" in said:
        raise SettingsError("--optimiser adam has no --muon-lr: leave it out; Adam's rate is --lr")
    return config


def normalisation(request: Request, base: Normalisation) -> Normalisation:
    """What is done to the text: what was said, and for the rest `base`."""
    said = {"case": request.case, "newlines": request.newlines, "nfc": request.nfc}
    chosen = {key: value for key, value in said.items() if value is not None}
    return Normalisation.from_dict(base.as_dict() | chosen)


def sizes(request: Request) -> dict[str, Any]:
    """The fields of `ModelConfig` that were said."""
    said = request.options or {}
    names = ("hidden", "layers", "dropout", "output_dropout")
    return {key: said[key] for key in names if said.get(key) is not None}


def why_no_cuda() -> str:
    """The reason, where `torch.cuda.is_available()` says no."""
    return "Torch sees no NVIDIA GPU" if torch.version.cuda else "this Torch is a CPU build"


def _check_notebook(said: dict[str, Any]) -> None:
    """Whether nothing was said that the notebook's recipe does not have."""
    for name, fixed in NOTEBOOK_HAS.items():
        if name in said and said[name] != fixed:
            raise SettingsError(
                "--recipe notebook has Adam, and limits neither gradients nor weights: "
                f"leave --{name.replace('_', '-')} out"
            )


def _device(wanted: str) -> str:
    if wanted not in DEVICES:
        raise SettingsError(f"--device is one of {', '.join(DEVICES)}, not {wanted!r}")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SettingsError(f"--device cuda: {why_no_cuda()}; use --device cpu")
    return wanted
