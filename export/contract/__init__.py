"""What charlm's model files are: tensor names, metadata and limits, for writers and readers.

The state goes in and out of every graph: float32 `h`, `c` -> `h_next`, `c_next`, each
[batch, layers, hidden]; zeros start a text. Everything but the vocabulary and the model's sizes is
free.

`model.onnx` is one step of the model:

|     | name     | type    | shape               |
|-----|----------|---------|---------------------|
| in  | `token`  | int64   | [batch]             |
| out | `logits` | float32 | [batch, vocabulary] |

Its siblings, further graphs of the same weights, stand beside it as `model.KIND.onnx` and carry its
metadata, its `weights_sha256` above all, and what they are themselves.

`generate`: `steps` characters drawn in one run, by sampling version 1.

|     | name                    | type    | shape          |                                     |
|-----|-------------------------|---------|----------------|-------------------------------------|
| in  | `uniform`               | float32 | [batch, steps] | u of each position                  |
| in  | `inverse_temperature`   | float32 | [batch]        | float32(1/T); greedy: `GREEDY`      |
| out | `tokens`                | uint8   | [batch, steps] | int32 past 256 characters           |

`sequence`: a text read in one run.

|     | name              | type    | shape               |                                   |
|-----|-------------------|---------|---------------------|-----------------------------------|
| in  | `tokens`          | int64   | [batch, time]       | what is read                      |
| in  | `targets`         | int64   | [batch, time]       | what should have followed each    |
| out | `log_probability` | float32 | [batch, time]       | of each target, natural logarithm |
| out | `logits`          | float32 | [batch, vocabulary] | after the last character          |

`native`: charlm's own operator, which does both, any precision; `contract_native` has its tensors.

This module imports neither Torch nor onnx.
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
from charlm.data.system.extras import require_onnxruntime
from charlm.data.system.files import os_errors_as
from charlm.data.text.normalise import Normalisation
from charlm.data.text.rare import NOTHING_RARE, Rare
from charlm.data.text.vocabulary import Unknown, Vocabulary

FORMAT = 1
SAMPLING = 1
OPSET = 17
IR_VERSION = 8
MAX_MODEL_BYTES = 1 << 30  # a model file from elsewhere is untrusted: no more is ever read
PLAYGROUND = Path(__file__).resolve().parents[1] / "playground"  # the page that a server shows at /

H, C = "h", "c"
H_NEXT, C_NEXT = "h_next", "c_next"
TOKEN, LOGITS = "token", "logits"
UNIFORM, INVERSE_TEMPERATURE = "uniform", "inverse_temperature"
TOP_K, TOP_P, MIN_P = "top_k", "top_p", "min_p"
TOKENS, TARGETS = "tokens", "targets"
LOG_PROBABILITY, LOG_PROBABILITIES = "log_probability", "log_probabilities"
PROMPT, LENGTHS, SCORED, STEPS = "prompt", "lengths", "scored", "steps"
SEED, STREAM, POSITION = "seed", "stream", "position"

KEY_FORMAT = "charlm.format"
KEY_CONFIG = "charlm.config"
KEY_VOCABULARY = "charlm.vocabulary"
KEY_INITIAL = "charlm.initial"
KEY_SAMPLING = "charlm.sampling"
KEY_WEIGHTS = "charlm.weights_sha256"
KEY_QUALITY = "charlm.quality"  # JSON object: by precision, what it costs
KEY_STATES = "charlm.states"  # JSON list: how a host that knows no LSTM carries the state
KEY_KIND = "charlm.kind"  # of a sibling


LARGEST_LOSS = 0.01  # bits per character that a smaller precision may cost
BYTE_VOCABULARY = 256  # up to here a token id is a byte
# Greedy choice as a temperature: a power of two scales exactly, and leaves every other character
# no weight that float32 can hold. The smallest u then takes the lowest id of the likeliest.
GREEDY, GREEDY_UNIFORM = 2.0**100, 2.0**-24
TOP_P_OFF = 2.0  # not 1, where a rounded sum could remove a rare character


@dataclass(frozen=True)
class Kind:
    """One form of a model's graph."""

    name: str  # of a sibling, part of the file's name, and `charlm.kind` in its metadata


STEP = Kind("step")
NATIVE, GENERATE, SEQUENCE = Kind("native"), Kind("generate"), Kind("sequence")
KINDS = {kind.name: kind for kind in (NATIVE, GENERATE, SEQUENCE)}  # of siblings


def sibling_path(model: Path, kind: Kind) -> Path:
    """Where a sibling of `model` stands: `model.KIND.onnx` beside it."""
    return model.with_suffix(f".{kind.name}.onnx")


@dataclass(frozen=True)
class Metadata:
    """What a model file says of itself: all that generating and scoring need beside the graph.

    Attributes:
        initial: relative frequency of each character, for the first one after an empty prompt.
        summary: JSON object on training and quality, for people.
        rare: what became of the corpus's rare characters, and becomes of any that the model lacks.
            Readers that don't know of it refuse such characters.
        quality: by precision (`int8`, `fp16`), what it costs where that was measured: an object
            whose `loss` is in bits per character.
    """

    hidden: int  # units a layer
    layers: int  # LSTM layers
    vocabulary: Vocabulary  # a character's index is its token id
    normalisation: Normalisation  # applied to every prompt, as it was to the corpus
    initial: tuple[float, ...]
    weights_sha256: str  # identity of the weights; siblings of one model share it
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
                f"is allowed: leave out `precision` {precision}"
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
            KEY_STATES: json.dumps(self.states()),
        }

    def states(self) -> list[dict[str, Any]]:
        """Which outputs of every graph are its inputs of the next run, and what a text starts with.

        For hosts that run any recurrent model. Older files lack it, and no reader of ours needs it.
        """
        shape = ["batch", self.layers, self.hidden]
        return [
            {"input": given, "output": found, "type": "float32", "shape": shape, "initial": 0}
            for given, found in ((H, H_NEXT), (C, C_NEXT))
        ]

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


Tensor = tuple[str, list[int | None]]
Tensors = dict[str, Tensor]


def tensors(kind: Kind, metadata: Metadata) -> tuple[Tensors, Tensors]:
    """Inputs and outputs of a kind: type and shape by name; None stands for a free size."""
    characters, numbers, ids = len(metadata.vocabulary), "tensor(float)", "tensor(int64)"
    state: Tensor = (numbers, [None, metadata.layers, metadata.hidden])
    each: Tensor = (numbers, [None])
    drawn: Tensor = (token_type(characters), [None, None])
    inputs: Tensors = {H: state, C: state}
    outputs: Tensors = {H_NEXT: state, C_NEXT: state}
    if kind == STEP:
        inputs = {TOKEN: (ids, [None]), **inputs}
        outputs = {LOGITS: (numbers, [None, characters]), **outputs}
    elif kind == NATIVE:
        inputs |= {PROMPT: drawn, LENGTHS: (ids, [None]), SCORED: (ids, []), STEPS: (ids, [])}
        inputs |= dict.fromkeys((SEED, STREAM, POSITION), ("tensor(uint64)", [None]))
        inputs |= {INVERSE_TEMPERATURE: each, TOP_K: (ids, [None]), TOP_P: each, MIN_P: each}
        outputs |= {TOKENS: drawn, LOG_PROBABILITIES: (numbers, [None, None, characters])}
    elif kind == SEQUENCE:
        inputs |= dict.fromkeys((TOKENS, TARGETS), (ids, [None, None]))
    else:
        inputs |= {UNIFORM: (numbers, [None, None]), INVERSE_TEMPERATURE: each}
        outputs |= {TOKENS: drawn}
    if kind in (NATIVE, SEQUENCE):
        outputs |= {LOG_PROBABILITY: (numbers, [None, None]), LOGITS: (numbers, [None, characters])}
    return inputs, outputs


def token_type(characters: int) -> str:
    """The type of the ids of so many characters, where they are drawn."""
    return "tensor(uint8)" if characters <= BYTE_VOCABULARY else "tensor(int32)"


def properties(metadata: Metadata, kind: Kind) -> dict[str, str]:
    """The `metadata_props` of a kind: the model's, and of a sibling what it is itself."""
    return metadata.to_properties() | ({} if kind == STEP else {KEY_KIND: kind.name})


def check_tensors(session: Any, kind: Kind, metadata: Metadata, where: str) -> None:
    """Names, types and shapes of a graph must be those of its kind.

    Raises:
        ModelFileError: the graph has other inputs or outputs.
    """
    found = session.get_inputs(), session.get_outputs()
    for wanted, listed in zip(tensors(kind, metadata), found, strict=True):
        described = {
            tensor.name: (
                tensor.type,
                [size if isinstance(size, int) else None for size in tensor.shape],
            )
            for tensor in listed
        }
        if described != wanted or len(listed) != len(wanted):
            form = "step graph" if kind == STEP else f"graph of kind {kind.name}"
            shown = ", ".join(f"{tensor.name} {tensor.type}{tensor.shape}" for tensor in listed)
            raise ModelFileError(
                f"{where}: not a charlm {form}: its tensors are {shown[:200]}, not "
                f"{', '.join(wanted)} of {metadata.layers} x {metadata.hidden} units and "
                f"{len(metadata.vocabulary)} characters"
            )


def check_sibling(session: Any, kind: Kind, metadata: Metadata, where: str) -> None:
    """A file must be the sibling that it is taken for: kind, weights and tensors.

    Raises:
        ModelFileError: it is of another kind, of other weights, or has other inputs or outputs.
    """
    with runtime_errors_as(ModelFileError, f"{where}: its names can't be read"):
        found = session.get_modelmeta().custom_metadata_map
        own = Metadata.from_properties(found, where)
        if own.weights_sha256 != metadata.weights_sha256:
            raise ModelFileError(
                f"{where}: made from other weights than the model beside it: export the model again"
            )
        if found.get(KEY_KIND) != kind.name:
            raise ModelFileError(
                f"{where}: says that it is {str(found.get(KEY_KIND))[:40]!r}, not {kind.name!r}: "
                "export the model again"
            )
        check_tensors(session, kind, metadata, where)


def session_options(threads: int) -> Any:
    """Options of every session: so many CPU threads, no chatter, no weights from elsewhere."""
    options = require_onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # "fatal": errors come as exceptions, in our words
    # Waiting threads sleep: a core that spins between steps is a core taken from the user.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The folder of the other files that a model given as bytes may name for its weights: a file,
    # which holds none, so that such a model can't be loaded.
    folder = "session.model_external_initializers_file_folder_path"
    options.add_session_config_entry(folder, __file__)
    options.add_session_config_entry("session.load_model_format", "ONNX")  # as it was looked at
    return options


@contextlib.contextmanager
def runtime_errors_as(error: type[CharlmError], doing: str) -> Iterator[None]:
    """Turn what ONNX Runtime raises in the block into `error`, in one line."""
    try:
        yield
    except Exception as problem:
        if not is_of_runtime(problem):
            raise
        raise error(f"{doing}: {str(problem).strip().partition(chr(10))[0]}") from problem


def is_of_runtime(problem: Exception) -> bool:
    """Whether ONNX Runtime has raised it.

    Where a damaged file's names are not UTF-8, that is a `UnicodeDecodeError`; of a run with bound
    tensors it is a `RuntimeError`.
    """
    its_own = type(problem).__module__.startswith("onnxruntime")
    return its_own or type(problem) in (UnicodeDecodeError, RuntimeError)


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
