"""What a Keras model's configuration says it is, and whether charlm has the same model."""

from dataclasses import dataclass
from typing import Any

from charlm.data import MAX_HIDDEN, MAX_LAYERS, MAX_WINDOW
from charlm.data.system.errors import ModelFileError

SUPPORTED = (
    "charlm-import reads Sequential models of one-hot characters: LSTM layers of one size "
    "(tanh, sigmoid, with bias), one Dense layer, softmax; Dropout is passed over"
)
WITHOUT_EFFECT = ("InputLayer", "Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise")
"""Layers that do nothing once a model is trained."""
LSTM_MUST_HAVE: dict[str, tuple[object, object]] = {
    "activation": ("tanh", None),
    "recurrent_activation": ("sigmoid", None),  # Keras before 2.3 had hard_sigmoid
    "use_bias": (True, True),
    "go_backwards": (False, False),
    "return_state": (False, False),
    "time_major": (False, False),
}
"""What each option must be for the layer to be Torch's LSTM, and what it is where nothing says."""
MAX_VOCABULARY = 0x110000  # there are no more characters
SHOWN = 300  # characters of a description


@dataclass(frozen=True)
class Architecture:
    """A model that charlm has too."""

    layers: int  # LSTM layers
    hidden: int  # units of each of them
    vocabulary: int  # units of the Dense layer
    # Characters that each prediction was trained to see from a zero state; None where the
    # configuration does not say, where the state was carried, or where they are more than
    # `MAX_WINDOW`.
    window: int | None
    softmax: bool  # whether the model ends with one; if not, it gives logits

    @property
    def weights(self) -> int:
        """How many numbers the model has learnt."""
        inputs = self.vocabulary + (self.layers - 1) * self.hidden
        gates = 4 * self.hidden * (inputs + self.layers * (self.hidden + 1))
        return gates + (self.hidden + 1) * self.vocabulary


@dataclass(frozen=True)
class _Layer:
    kind: str
    options: dict[str, Any]

    def __str__(self) -> str:
        units = self.options.get("units")
        shown = [str(units)] if type(units) is int else []
        if self.kind in ("Dense", "Activation"):
            shown.append(_name(self.options.get("activation")))
        if self.kind == "Bidirectional":
            shown = [_name(self.options.get("layer"))]
        return f"{self.kind}({', '.join(shown)})" if shown else self.kind


def read_architecture(config: object) -> Architecture:
    """Understand a model's configuration.

    Args:
        config: what Keras wrote as `config.json` or as the attribute `model_config`.

    Raises:
        ModelFileError: charlm has no such model; says what was found, and what is supported.
        ValueError, KeyError, TypeError: the configuration is no configuration.
    """
    layers = _layers(config)
    acting = [layer for layer in layers if layer.kind not in WITHOUT_EFFECT]
    lstm = [layer for layer in acting if layer.kind == "LSTM"]
    head = acting[len(lstm) :]
    kinds = [layer.kind for layer in head]
    fits = kinds in (["Dense"], ["Dense", "Activation"], ["Dense", "Softmax"])
    if not (lstm and acting[: len(lstm)] == lstm and fits and len(lstm) <= MAX_LAYERS):
        raise _unsupported(layers)
    for layer in lstm:
        _check_lstm(layer, last=layer is lstm[-1])
    hidden = [_units(layer, MAX_HIDDEN) for layer in lstm]
    if len(set(hidden)) > 1:
        sizes = ", ".join(map(str, hidden))
        raise ModelFileError(f"found LSTM layers of {sizes} units; {SUPPORTED}")
    if head[0].options.get("use_bias", True) is not True:
        raise ModelFileError(f"found a Dense layer with use_bias False; {SUPPORTED}")
    functions = [
        "softmax" if layer.kind == "Softmax" else _name(layer.options.get("activation", "linear"))
        for layer in head
    ]
    acting_functions = [each for each in functions if each not in ("linear", "None")]
    if acting_functions not in ([], ["softmax"]):
        raise _unsupported(layers)
    return Architecture(
        layers=len(lstm),
        hidden=hidden[0],
        vocabulary=_units(head[0], MAX_VOCABULARY),
        window=_window(config, layers),
        softmax=bool(acting_functions),
    )


def _layers(config: object) -> list[_Layer]:
    if not isinstance(config, dict):
        raise TypeError("its configuration is not an object")
    kind = _name(config.get("class_name"))
    if kind != "Sequential":
        raise ModelFileError(f"found a {kind} model; {SUPPORTED}")
    inner = config["config"]
    listed = inner["layers"] if isinstance(inner, dict) else inner  # Keras before 2.2.3: the list
    if not isinstance(listed, list):
        raise TypeError("its layers are not a list")
    return [_Layer(_name(layer["class_name"]), dict(layer["config"])) for layer in listed]


def _check_lstm(layer: _Layer, *, last: bool) -> None:
    wanted = dict(LSTM_MUST_HAVE)
    if not last:
        wanted["return_sequences"] = (True, False)
    for option, (value, otherwise) in wanted.items():
        found = _name(layer.options.get(option, otherwise))
        if found != str(value):
            raise ModelFileError(
                f"found an LSTM layer with {option} {found}; supported is {value}, "
                f"since {SUPPORTED}"
            )


def _window(config: object, layers: list[_Layer]) -> int | None:
    """Steps of the input; see `Architecture.window`."""
    if any(layer.options.get("stateful") for layer in layers):
        return None
    keys = ("batch_shape", "batch_input_shape")
    shapes = [layer.options.get(key) for layer in layers for key in keys]
    inner = config.get("config") if isinstance(config, dict) else None
    shapes += [inner.get("build_input_shape")] if isinstance(inner, dict) else []
    for shape in shapes:
        if isinstance(shape, list) and len(shape) == 3:
            steps = shape[1]
            return steps if type(steps) is int and 1 <= steps <= MAX_WINDOW else None
    return None


def _units(layer: _Layer, most: int) -> int:
    units = layer.options["units"]
    if type(units) is not int or not 1 <= units <= most:
        raise ModelFileError(
            f"found {layer.kind} with {_name(units)} units; from 1 to {most} are supported"
        )
    return units


def _unsupported(layers: list[_Layer]) -> ModelFileError:
    found = _name(", ".join(map(str, layers)) or "no layers")
    return ModelFileError(f"found {found}; {SUPPORTED}")


def _name(value: object) -> str:
    """What the file has as a name or an option, for a message too: short, and in one line.

    Some versions wrap the name of an activation in an object; of a layer it is its class.
    """
    if isinstance(value, dict):
        inner = value.get("config")
        value = inner if isinstance(inner, str) else value.get("class_name")
    shown = str(value)[: SHOWN + 1]
    line = "".join(c if c.isprintable() else "?" for c in shown)
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"
