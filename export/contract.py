"""What a charlm model file is: tensor names, metadata and limits, for writers and readers.

`model.onnx` is one step of the model:

|     | name               | type    | shape                   |
|-----|--------------------|---------|-------------------------|
| in  | `token`            | int64   | [batch]                 |
| in  | `h`, `c`           | float32 | [batch, layers, hidden] |
| out | `logits`           | float32 | [batch, vocabulary]     |
| out | `h_next`, `c_next` | float32 | [batch, layers, hidden] |

The batch is symbolic; a state of zeros starts a text. This module imports neither Torch nor onnx.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from charlm.data.errors import CharlmError, ModelFileError
from charlm.data.files import os_errors_as
from charlm.data.normalise import Normalisation
from charlm.data.vocabulary import Vocabulary

FORMAT = 1
SAMPLING = 1
OPSET = 17
IR_VERSION = 8
MAX_MODEL_BYTES = 1 << 30  # a model file from elsewhere is untrusted: no more is ever read

TOKEN = "token"
H, C = "h", "c"
LOGITS = "logits"
H_NEXT, C_NEXT = "h_next", "c_next"

KEY_FORMAT = "charlm.format"
KEY_CONFIG = "charlm.config"
KEY_VOCABULARY = "charlm.vocabulary"
KEY_INITIAL = "charlm.initial"
KEY_SAMPLING = "charlm.sampling"
KEY_WEIGHTS = "charlm.weights_sha256"


@dataclass(frozen=True)
class Metadata:
    """What a model file says of itself: all that generating and scoring need beside the graph.

    Attributes:
        hidden: units a layer.
        layers: LSTM layers.
        vocabulary: a character's index is its token id.
        normalisation: applied to every prompt, as it was to the corpus.
        initial: relative frequency of each character, for the first one after an empty prompt.
        weights_sha256: identity of the weights; siblings of one model share it.
        summary: JSON object on training and quality, for people.
    """

    hidden: int
    layers: int
    vocabulary: Vocabulary
    normalisation: Normalisation
    initial: tuple[float, ...]
    weights_sha256: str
    summary: dict[str, Any] = field(default_factory=dict)

    def to_properties(self) -> dict[str, str]:
        """The `metadata_props` of the ONNX file."""
        config = {
            "hidden": self.hidden,
            "layers": self.layers,
            "vocabulary": len(self.vocabulary),
            "normalisation": self.normalisation.as_dict(),
            **self.summary,
        }
        return {
            KEY_FORMAT: str(FORMAT),
            KEY_CONFIG: json.dumps(config, ensure_ascii=False),
            KEY_VOCABULARY: self.vocabulary.to_json(),
            KEY_INITIAL: json.dumps([float(f"{share:.9g}") for share in self.initial]),
            KEY_SAMPLING: str(SAMPLING),
            KEY_WEIGHTS: self.weights_sha256,
        }

    def to_json(self) -> str:
        """The content of `model.json`, for runtimes that can't read an ONNX file's metadata."""
        values = {
            key: value if key == KEY_WEIGHTS else json.loads(value)
            for key, value in self.to_properties().items()
        }
        return json.dumps(values, ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], where: str) -> "Metadata":
        """Read and check metadata; keys that this version does not know are ignored.

        Args:
            properties: an ONNX file's `metadata_props`.
            where: the file's name, for messages.

        Raises:
            ModelFileError: a key is missing or malformed, or the file is of a later format.
        """
        _check_version(properties, where)
        try:
            config = json.loads(properties[KEY_CONFIG])
            vocabulary = Vocabulary.from_json(properties[KEY_VOCABULARY])
            initial = tuple(float(share) for share in json.loads(properties[KEY_INITIAL]))
            _check_initial(initial, vocabulary)
            known = {"hidden", "layers", "vocabulary", "normalisation"}
            metadata = cls(
                hidden=_size(config["hidden"]),
                layers=_size(config["layers"]),
                vocabulary=vocabulary,
                normalisation=Normalisation.from_dict(config["normalisation"]),
                initial=initial,
                weights_sha256=properties[KEY_WEIGHTS],
                summary={key: value for key, value in config.items() if key not in known},
            )
        except KeyError as problem:
            raise ModelFileError(
                f"{where}: its metadata lacks {problem}: not a model that charlm-export wrote"
            ) from problem
        except (ValueError, TypeError, AttributeError, RecursionError, CharlmError) as problem:
            raise ModelFileError(f"{where}: its metadata is damaged: {problem}") from problem
        return metadata


def _check_version(properties: Mapping[str, str], where: str) -> None:
    for key, newest in ((KEY_FORMAT, FORMAT), (KEY_SAMPLING, SAMPLING)):
        text = properties.get(key)
        if text is None:
            raise ModelFileError(f"{where}: no {key} in its metadata: not a charlm model")
        if not text.isdecimal() or int(text) < 1:
            raise ModelFileError(f"{where}: {key} is {text[:20]!r}, not a version number")
        if int(text) > newest:
            raise ModelFileError(
                f"{where}: {key} {text}, and this charlm reads up to {newest}: upgrade charlm"
            )


def _check_initial(initial: tuple[float, ...], vocabulary: Vocabulary) -> None:
    if len(initial) != len(vocabulary):
        raise ValueError(f"{len(initial)} initial frequencies for {len(vocabulary)} characters")
    if any(not math.isfinite(share) or share < 0 for share in initial) or not sum(initial) > 0:
        raise ValueError("the initial frequencies are not a distribution")


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1 << 20:
        raise ValueError(f"a size of {value!r}")
    return value


def read_model_bytes(path: Path) -> bytes:
    """A model file's bytes; a file larger than any model is refused before it fills the memory.

    Raises:
        ModelFileError: the file is missing, unreadable, empty or too large.
    """
    with os_errors_as(ModelFileError, f"can't read {path}"), path.open("rb") as file:
        content = file.read(MAX_MODEL_BYTES + 1)
    if not content:
        raise ModelFileError(f"{path}: the file is empty")
    if len(content) > MAX_MODEL_BYTES:
        raise ModelFileError(f"{path}: larger than {MAX_MODEL_BYTES >> 20} MiB: not a charlm model")
    return content
