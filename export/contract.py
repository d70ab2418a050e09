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

import contextlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from charlm.data import MAX_HIDDEN, MAX_LAYERS
from charlm.data.system.errors import CharlmError, ModelFileError
from charlm.data.system.files import os_errors_as
from charlm.data.text.normalise import Normalisation
from charlm.data.text.rare import NOTHING_RARE, Rare
from charlm.data.text.vocabulary import Unknown, Vocabulary

FORMAT = 1
SAMPLING = 1
OPSET = 17
IR_VERSION = 8
MAX_MODEL_BYTES = 1 << 30  # a model file from elsewhere is untrusted: no more is ever read
# ONNX Runtime's option: the folder of the other files that a model given as bytes may name for its
# weights. Given a file, which holds none, such a model can't be loaded.
EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"

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
KEY_QUALITY = "charlm.quality"  # JSON object: by precision, what it costs

LARGEST_LOSS = 0.01  # bits per character that a smaller precision may cost


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
        rare: what became of the corpus's rare characters, and becomes of any that the model lacks.
            Readers that don't know of it refuse such characters.
        quality: by precision (`int8`, `fp16`), what it costs where that was measured: an object
            whose `loss` is in bits per character.
    """

    hidden: int
    layers: int
    vocabulary: Vocabulary
    normalisation: Normalisation
    initial: tuple[float, ...]
    weights_sha256: str
    summary: dict[str, Any] = field(default_factory=dict)
    rare: Rare = NOTHING_RARE
    quality: dict[str, dict[str, Any]] = field(default_factory=dict)

    def check_loss(self, precision: str) -> None:
        """Refuse a precision that is known to cost too much.

        Raises:
            ModelFileError: more than `LARGEST_LOSS`.
        """
        loss = self.quality.get(precision, {"loss": 0.0})["loss"]
        if not loss <= LARGEST_LOSS:
            raise ModelFileError(
                f"{precision} costs this model {loss:.4f} bits per character, and {LARGEST_LOSS} "
                f"is allowed: leave out --precision {precision}"
            )

    def unknown(self, asked: Unknown | None) -> Unknown:
        """What becomes of characters that the model lacks: as asked, or as with the corpus.

        Raises:
            VocabularyError: the model lacks the character that is asked for, too.
        """
        chosen = self.rare.unknown if asked is None else asked
        if chosen not in ("error", "drop"):
            self.vocabulary.id_of(chosen)
        return chosen

    def to_properties(self) -> dict[str, str]:
        """The `metadata_props` of the ONNX file."""
        sizes = {
            "hidden": self.hidden,
            "layers": self.layers,
            "vocabulary": len(self.vocabulary),
            "normalisation": self.normalisation.as_dict(),
            **({} if self.rare == NOTHING_RARE else {"rare": self.rare.as_dict()}),
        }
        config = {**sizes, **self.summary, **sizes}  # sizes first, and nothing in their place
        return {
            KEY_FORMAT: str(FORMAT),
            KEY_CONFIG: json.dumps(config, ensure_ascii=False),
            KEY_VOCABULARY: self.vocabulary.to_json(),
            KEY_INITIAL: json.dumps([float(f"{share:.9g}") for share in self.initial]),
            KEY_SAMPLING: str(SAMPLING),
            KEY_WEIGHTS: self.weights_sha256,
            **({KEY_QUALITY: json.dumps(self.quality)} if self.quality else {}),
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
            if config["vocabulary"] != len(vocabulary):
                raise ValueError(
                    f"{len(vocabulary)} characters where {KEY_CONFIG} has another size"
                )
            known = {"hidden", "layers", "vocabulary", "normalisation", "rare"}
            metadata = cls(
                hidden=_size("hidden", config["hidden"], MAX_HIDDEN),
                layers=_size("layers", config["layers"], MAX_LAYERS),
                vocabulary=vocabulary,
                normalisation=_normalisation(config["normalisation"]),
                initial=_initial(json.loads(properties[KEY_INITIAL]), len(vocabulary)),
                weights_sha256=_sha256(properties[KEY_WEIGHTS]),
                summary={key: value for key, value in config.items() if key not in known},
                rare=Rare.from_dict(config.get("rare", {})),
                quality=_quality(json.loads(properties.get(KEY_QUALITY, "{}"))),
            )
            metadata.unknown(None)  # the replacement, if there is one, is in the vocabulary
        except KeyError as problem:
            raise ModelFileError(
                f"{where}: its metadata lacks {problem}: not a model that charlm-export wrote"
            ) from problem
        except (
            ValueError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
            CharlmError,
        ) as problem:
            raise ModelFileError(f"{where}: its metadata is damaged: {problem}") from problem
        return metadata


def _check_version(properties: Mapping[str, str], where: str) -> None:
    for key, newest in ((KEY_FORMAT, FORMAT), (KEY_SAMPLING, SAMPLING)):
        text = properties.get(key)
        if text is None:
            raise ModelFileError(f"{where}: no {key} in its metadata: not a charlm model")
        if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
            raise ModelFileError(f"{where}: {key} is {text[:20]!r}, not a version number")
        if int(text) > newest:
            raise ModelFileError(
                f"{where}: {key} {text}, and this charlm reads up to {newest}: upgrade charlm"
            )


def _size(name: str, value: object, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{name} is a whole number from 1 to {most}, not {str(value)[:20]}")
    return value


def _normalisation(values: dict[str, Any]) -> Normalisation:
    if not isinstance(values.get("nfc", True), bool):
        raise ValueError("normalisation: nfc is true or false")
    return Normalisation.from_dict(values)


def _initial(values: object, characters: int) -> tuple[float, ...]:
    if not isinstance(values, list) or any(type(share) not in (int, float) for share in values):
        raise ValueError(f"{KEY_INITIAL} is not a list of numbers")
    if len(values) != characters:
        raise ValueError(f"{len(values)} initial frequencies for {characters} characters")
    in_range = all(0 <= share <= 1 for share in values)  # NaN is not
    if not in_range or abs(math.fsum(values) - 1) > 1e-3:
        raise ValueError("the initial frequencies must lie between 0 and 1 and sum to 1")
    return tuple(map(float, values))


def _quality(values: object) -> dict[str, dict[str, Any]]:
    if not isinstance(values, dict):
        raise ValueError(f"{KEY_QUALITY} is not an object")
    return {
        precision: each | {"loss": float(each["loss"])}
        for precision, each in values.items()
        if isinstance(each, dict) and type(each.get("loss")) in (int, float)
    }


def _sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError(f"{KEY_WEIGHTS} is not a sha256 in hexadecimal")
    return text


def check_tensors(session: Any, *, hidden: int, layers: int, vocabulary: int, where: str) -> None:
    """Names, types and shapes of a graph must be those of the table above; only the batch is free.

    Args:
        session: `onnxruntime.InferenceSession` of the graph.
        hidden: units a layer.
        layers: LSTM layers.
        vocabulary: number of characters.
        where: the file's name, for messages.

    Raises:
        ModelFileError: the graph has other inputs or outputs.
    """
    state = ("tensor(float)", [layers, hidden])
    inputs = {TOKEN: ("tensor(int64)", []), H: state, C: state}
    outputs = {LOGITS: ("tensor(float)", [vocabulary]), H_NEXT: state, C_NEXT: state}
    for wanted, found in ((inputs, session.get_inputs()), (outputs, session.get_outputs())):
        described = {
            tensor.name: (tensor.type, tensor.shape[1:])
            for tensor in found
            if tensor.shape and not isinstance(tensor.shape[0], int)
        }
        if described != wanted or len(found) != len(wanted):
            shown = ", ".join(f"{tensor.name} {tensor.type}{tensor.shape}" for tensor in found)
            raise ModelFileError(
                f"{where}: not a charlm step graph: its tensors are {shown[:200]}, "
                f"not {', '.join(wanted)} of {layers} x {hidden} units and {vocabulary} characters"
            )


@contextlib.contextmanager
def runtime_errors_as(error: type[CharlmError], doing: str) -> Iterator[None]:
    """Turn what ONNX Runtime raises in the block into `error`, in one line.

    Where a damaged file's names are not UTF-8, that is a `UnicodeDecodeError`; of a run with bound
    inputs it is a `RuntimeError`.
    """
    try:
        yield
    except Exception as problem:
        its_own = type(problem).__module__.startswith("onnxruntime")
        if not (its_own or type(problem) in (UnicodeDecodeError, RuntimeError)):
            raise
        raise error(f"{doing}: {str(problem).strip().partition(chr(10))[0]}") from problem


def read_model_bytes(path: Path) -> bytes:
    """A model file's bytes; a file larger than any model is refused before it fills the memory.

    Raises:
        ModelFileError: the file is missing, unreadable, empty or too large.
    """
    with os_errors_as(ModelFileError, f"can't read {path}"), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size  # 0 where it is a pipe
        content = b"" if size > MAX_MODEL_BYTES else file.read(MAX_MODEL_BYTES + 1)
    if max(size, len(content)) > MAX_MODEL_BYTES:
        raise ModelFileError(f"{path}: larger than {MAX_MODEL_BYTES >> 20} MiB: not a charlm model")
    if not content:
        raise ModelFileError(f"{path}: the file is empty")
    return content
