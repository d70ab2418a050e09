"""What a Keras model's configuration says it is, and whether charlm has the same model."""

from collections.abc import Sequence
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
class Layer:
    """A layer's class, its name, and its options."""

    kind: str
    name: str
    options: dict[str, Any]

    def __str__(self) -> str:
        units, activation = self.options.get("units"), self.options.get("activation")
        shown = [str(units)] if type(units) is int else []
        if self.kind in ("Dense", "Activation"):
            shown.append(_function(activation))
        if self.kind == "Bidirectional":
            shown = [_kind_of(self.options.get("layer"))]
        return f"{self.kind}({', '.join(shown)})" if shown else self.kind


@dataclass(frozen=True)
class Architecture:
    """A model that charlm has too.

    Attributes:
        lstm: names of the LSTM layers, from the bottom up.
        dense: name of the Dense layer.
        hidden: units of each LSTM layer.
        vocabulary: units of the Dense layer.
        window: characters that each prediction was trained to see from a zero state; None where
            the configuration does not say, where the state was carried, or where they are more
            than `MAX_WINDOW`.
        softmax: whether the model ends with one; if not, it gives logits.
    """

    lstm: tuple[str, ...]
    dense: str
    hidden: int
    vocabulary: int
    window: int | None
    softmax: bool


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
    for index, layer in enumerate(lstm):
        _check_lstm(layer, last=index == len(lstm) - 1)
    hidden = [_whole(layer, MAX_HIDDEN) for layer in lstm]
    if len(set(hidden)) > 1:
        sizes = ", ".join(map(str, hidden))
        raise ModelFileError(f"found LSTM layers of {sizes} units; {SUPPORTED}")
    return Architecture(
        lstm=tuple(layer.name for layer in lstm),
        dense=head[0].name,
        hidden=hidden[0],
        vocabulary=_whole(head[0], MAX_VOCABULARY),
        window=_window(config, layers),
        softmax=_ends_in_softmax(head, layers),
    )


def _layers(config: object) -> list[Layer]:
    if not isinstance(config, dict):
        raise TypeError("its configuration is not an object")
    kind = _kind_of(config)
    if kind != "Sequential":
        raise ModelFileError(f"found a {kind} model; {SUPPORTED}")
    inner = config["config"]
    listed = inner["layers"] if isinstance(inner, dict) else inner  # Keras before 2.2.3: the list
    if not isinstance(listed, list):
        raise TypeError("its layers are not a list")
    return [
        Layer(_kind_of(layer), _name(layer["config"]), dict(layer["config"])) for layer in listed
    ]


def _check_lstm(layer: Layer, *, last: bool) -> None:
    wanted = dict(LSTM_MUST_HAVE)
    if not last:
        wanted["return_sequences"] = (True, False)
    for option, (value, otherwise) in wanted.items():
        found = layer.options.get(option, otherwise)
        if _function(found) != _function(value):
            raise ModelFileError(
                f"found an LSTM layer with {option} {_function(found)}; supported is "
                f"{_function(value)}, since {SUPPORTED}"
            )


def _ends_in_softmax(head: Sequence[Layer], layers: Sequence[Layer]) -> bool:
    dense, *after = head
    if dense.options.get("use_bias", True) is not True:
        raise ModelFileError(f"found a Dense layer with use_bias False; {SUPPORTED}")
    functions = [_function(dense.options.get("activation", "linear"))]
    for layer in after:
        is_softmax = layer.kind == "Softmax"
        functions.append("softmax" if is_softmax else _function(layer.options.get("activation")))
    acting = [function for function in functions if function not in ("linear", "None")]
    if acting not in ([], ["softmax"]):
        raise _unsupported(layers)
    return bool(acting)


def _window(config: object, layers: Sequence[Layer]) -> int | None:
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


def _whole(layer: Layer, most: int) -> int:
    units = layer.options["units"]
    if type(units) is not int or not 1 <= units <= most:
        raise ModelFileError(
            f"found {_shown(layer.kind)} with {_shown(units)} units; from 1 to {most} are supported"
        )
    return units


def _unsupported(layers: Sequence[Layer]) -> ModelFileError:
    found = _shown(", ".join(map(str, layers)) or "no layers")
    return ModelFileError(f"found {found}; {SUPPORTED}")


def _function(value: object) -> str:
    """The name of an activation, which some versions wrap in an object; any other value as text."""
    if isinstance(value, dict):
        inner = value.get("config")
        value = inner if isinstance(inner, str) else value.get("class_name")
    return _shown(value)


def _kind_of(layer: object) -> str:
    return _shown(layer.get("class_name")) if isinstance(layer, dict) else "something"


def _name(options: dict[str, Any]) -> str:
    name = options["name"]
    if not isinstance(name, str) or len(name) > SHOWN:
        raise TypeError("a layer's name is not a short text")
    return name


def _shown(value: object) -> str:
    """A text from the file in a message: short, and in one line."""
    shown = str(value)[: SHOWN + 1]
    line = "".join(c if c.isprintable() else "?" for c in shown)
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"
