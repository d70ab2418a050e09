"""Further graphs of one model: their names, metadata and tensors, for writers and readers.

They stand beside `model.onnx` as `model.KIND.onnx` and carry its metadata, its `weights_sha256`
above all, and what they are themselves. The state goes in and out as in `model.onnx`: float32
`h`, `c` -> `h_next`, `c_next`, each [batch, layers, hidden], after all characters so far.

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

Everything but the vocabulary and the model's sizes is free.
This module imports neither Torch nor onnx.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.data.system.errors import ModelFileError
from charlm.export.contract import C_NEXT, H_NEXT, LOGITS, C, H, Metadata

UNIFORM, INVERSE_TEMPERATURE = "uniform", "inverse_temperature"
TOP_K, TOP_P, MIN_P = "top_k", "top_p", "min_p"
TOKENS, TARGETS, LOG_PROBABILITY = "tokens", "targets", "log_probability"
PROMPT, LENGTHS, SCORED, STEPS = "prompt", "lengths", "scored", "steps"
SEED, STREAM, POSITION = "seed", "stream", "position"

KEY_KIND = "charlm.kind"

BYTE_VOCABULARY = 256  # up to here a token id is a byte
# Greedy choice as a temperature: a power of two scales exactly, and leaves every other character
# no weight that float32 can hold. The smallest u then takes the lowest id of the likeliest.
GREEDY, GREEDY_UNIFORM = 2.0**100, 2.0**-24
TOP_P_OFF = 2.0  # not 1, where a rounded sum could remove a rare character


@dataclass(frozen=True)
class Kind:
    """One form of a model's graph.

    Attributes:
        name: part of the file's name, and `charlm.kind` in its metadata.
    """

    name: str


NATIVE, GENERATE, SEQUENCE = Kind("native"), Kind("generate"), Kind("sequence")
KINDS = {kind.name: kind for kind in (NATIVE, GENERATE, SEQUENCE)}


def sibling_path(model: Path, kind: Kind) -> Path:
    """Where a sibling of `model` stands: `model.KIND.onnx` beside it."""
    return model.with_suffix(f".{kind.name}.onnx")


def properties(metadata: Metadata, kind: Kind) -> dict[str, str]:
    """The `metadata_props` of a sibling: its model's, and what it is itself."""
    return metadata.to_properties() | {KEY_KIND: kind.name}


def check_sibling(
    session: Any, found: Mapping[str, str], kind: Kind, metadata: Metadata, where: str
) -> None:
    """A file must be the sibling that it is taken for: kind, weights and tensors.

    Args:
        session: `onnxruntime.InferenceSession` of the graph.
        found: its metadata.
        kind: what it should be.
        metadata: of the model that it should be a sibling of.
        where: the file's name, for messages.

    Raises:
        ModelFileError: it is of another kind, of other weights, or has other inputs or outputs.
    """
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
    inputs, outputs = tensors(kind, metadata)
    for wanted, listed in ((inputs, session.get_inputs()), (outputs, session.get_outputs())):
        described = {tensor.name: (tensor.type, _pattern(tensor.shape)) for tensor in listed}
        if described != wanted or len(listed) != len(wanted):
            shown = ", ".join(f"{tensor.name} {tensor.type}{tensor.shape}" for tensor in listed)
            raise ModelFileError(
                f"{where}: not a charlm graph of kind {kind.name}: its tensors are {shown[:200]}"
            )


Tensor = tuple[str, list[int | None]]
Tensors = dict[str, Tensor]


def tensors(kind: Kind, metadata: Metadata) -> tuple[Tensors, Tensors]:
    """Inputs and outputs of a kind: type and shape by name; None stands for a free size."""
    characters, numbers, ids = len(metadata.vocabulary), "tensor(float)", "tensor(int64)"
    state: Tensor = (numbers, [None, metadata.layers, metadata.hidden])
    each: Tensor = (numbers, [None])
    inputs: Tensors = {H: state, C: state}
    outputs: Tensors = {H_NEXT: state, C_NEXT: state}
    if kind == NATIVE:
        inputs |= {PROMPT: (token_type(characters), [None, None]), LENGTHS: (ids, [None])}
        inputs |= {SCORED: ("tensor(bool)", []), STEPS: (ids, [])}
        inputs |= dict.fromkeys((SEED, STREAM, POSITION), ("tensor(uint64)", [None]))
        inputs |= {INVERSE_TEMPERATURE: each, TOP_K: (ids, [None]), TOP_P: each, MIN_P: each}
        outputs |= {TOKENS: (token_type(characters), [None, None])}
    elif kind == SEQUENCE:
        inputs |= dict.fromkeys((TOKENS, TARGETS), (ids, [None, None]))
    else:
        inputs |= {UNIFORM: (numbers, [None, None]), INVERSE_TEMPERATURE: each}
        outputs |= {TOKENS: (token_type(characters), [None, None])}
    if kind != GENERATE:
        outputs |= {LOG_PROBABILITY: (numbers, [None, None]), LOGITS: (numbers, [None, characters])}
    return inputs, outputs


def token_type(characters: int) -> str:
    """The type of the ids of so many characters, where they are drawn."""
    return "tensor(uint8)" if characters <= BYTE_VOCABULARY else "tensor(int32)"


def _pattern(shape: list[Any]) -> list[int | None]:
    return [size if isinstance(size, int) else None for size in shape]
