"""The state of a text: a value that can be copied, kept in a file, and gone on from."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import StateError
from charlm.data.system.files import os_errors_as, target_of, write_bytes
from charlm.export.contract import Metadata
from charlm.infer.engines.base import Array, Primed, log_softmax

FORMAT = "1"
KEY = "charlm.state"
# h is an output gate times tanh(c), and c grows by at most 1 with a character. From numbers within
# these bounds all others are finite, whoever made the state.
MOST_H, MOST_C, MOST_LOGIT = 1.001, 2.0**40, 1e30
MAX_STATE_BYTES = 1 << 26  # a state from elsewhere is untrusted: no more is ever read
FARTHEST = 1 << 63  # that a text goes on from: what it leaves still fits into 64 bits
NUMBERS = ("characters", "weights_sha256", "seed", "sample", "position")


@dataclass(frozen=True, eq=False)
class State:
    """Where a model stands in a text, and where the text's random numbers stand.

    A state is never changed: reading and drawing give new ones. It is bound to the weights, not to
    a file, a precision or a device.

    Attributes:
        h, c: float32 [layers, hidden], after the last character.
        logits: float32 [vocabulary], of the character to come; before the first one the natural
            logarithms of the training text's frequencies.
        characters: how many were read or drawn.
        weights_sha256: identity of the model's weights.
        seed, sample: of the text that was drawn; None where none was.
        position: how many of its random numbers were used.
    """

    h: Array
    c: Array
    logits: Array
    characters: int
    weights_sha256: str
    seed: int | None = None
    sample: int | None = None
    position: int = 0

    @classmethod
    def start(cls, metadata: Metadata) -> "State":
        """The state before any character."""
        h, c = np.zeros((2, metadata.layers, metadata.hidden), dtype=np.float32)
        with np.errstate(divide="ignore"):  # a character that fine-tuning added has frequency 0
            logits = np.log(np.asarray(metadata.initial, dtype=np.float32))
        return cls(h, c, logits, 0, metadata.weights_sha256)

    @property
    def primed(self) -> Primed:
        """The state as a batch of one stream."""
        return Primed(self.h[None], self.c[None], self.logits[None])

    def after(self, primed: Primed, characters: int) -> "State":
        """The state once so many more characters have brought its stream to `primed`."""
        h, c, logits = (np.array(each[0]) for each in (primed.h, primed.c, primed.logits))
        return replace(self, h=h, c=c, logits=logits, characters=self.characters + characters)

    def __repr__(self) -> str:
        layers, hidden = self.h.shape
        return f"State(after {self.characters:,} characters, {layers} x LSTM({hidden}))"

    def copy(self) -> "State":
        """One whose arrays are its own."""
        return self.after(self.primed, 0)

    def log_probabilities(self) -> Array:
        """Natural logarithms of the next character's probabilities, float32 [vocabulary]."""
        return log_softmax(self.logits)

    def check(self, metadata: Metadata) -> None:
        """See that a model can go on from here.

        Raises:
            StateError: the state is of other weights, or at the end of its random numbers.
        """
        if self.weights_sha256 != metadata.weights_sha256:
            raise StateError(
                f"the state is of other weights ({self.weights_sha256[:12]}…) than the model "
                f"({metadata.weights_sha256[:12]}…): open the model that it was made with"
            )
        row, size = (metadata.layers, metadata.hidden), len(metadata.vocabulary)
        if (self.h.shape, self.c.shape, self.logits.shape) != (row, row, (size,)):
            raise StateError("the state's arrays have other shapes than the model's: it is damaged")
        if max(self.characters, self.position) >= FARTHEST:
            raise StateError("the state is 2^63 characters into its text: begin another text")

    def to_bytes(self) -> bytes:
        """The state as the bytes of a safetensors file; see `from_bytes`."""
        from safetensors.numpy import save

        tensors = {"h": self.h, "c": self.c, "logits": self.logits}
        own = {name: np.ascontiguousarray(each) for name, each in tensors.items()}
        numbers = {name: getattr(self, name) for name in NUMBERS}
        return bytes(save(own, {KEY: FORMAT, "numbers": json.dumps(numbers)}))

    @classmethod
    def from_bytes(cls, content: bytes, where: str = "the state") -> "State":
        """Read what `to_bytes` gave; the bytes may come from anyone.

        Raises:
            StateError: damaged, too large, of a later format, or something else.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        if len(content) > MAX_STATE_BYTES:
            raise StateError(f"{where}: larger than any state")
        try:
            tensors = load(content)
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            said = header["__metadata__"]
            if said[KEY] != FORMAT:
                raise StateError(
                    f"{where}: a state of format {said[KEY][:9]}, and this charlm knows {FORMAT}: "
                    "update charlm (pip install --upgrade charlm)"
                )
            numbers = json.loads(said["numbers"])
        except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as problem:
            raise StateError(f"{where}: not a state that charlm saved, or damaged") from problem
        if not _is_state(tensors, numbers):
            raise StateError(f"{where}: damaged: its arrays or numbers are not those of a state")
        return cls(tensors["h"], tensors["c"], tensors["logits"], **numbers)

    @classmethod
    def check_place(cls, path: str | Path) -> None:
        """See that a state can be saved there.

        Raises:
            StateError: no file, a file that is no state, or a folder that is not there.
        """
        path = Path(path)
        with os_errors_as(StateError, f"can't write {path}"):
            folder = target_of(path).parent
        if not folder.is_dir():
            raise StateError(f"can't write {path}: there is no folder {folder}")
        if path.is_file() and path.stat().st_size:  # nothing is lost of an empty one
            try:
                cls.load(path)
            except StateError as problem:
                raise StateError(
                    f"{path} is there already and is no state: choose another name"
                ) from problem

    def save(self, path: str | Path) -> None:
        """Write the state to a file, atomically; of what stands there only a state is replaced.

        Raises:
            StateError: it can't be written, or something else stands there.
        """
        self.check_place(path)
        with os_errors_as(StateError, f"can't write {path}"):
            write_bytes(Path(path), self.to_bytes())

    @classmethod
    def load(cls, path: str | Path) -> "State":
        """Read a file that `save` wrote.

        Raises:
            StateError: it can't be read, is damaged, or is something else.
        """
        with os_errors_as(StateError, f"can't read {path}"), Path(path).open("rb") as file:
            content = file.read(MAX_STATE_BYTES + 1)
        return cls.from_bytes(content, str(path))


def _is_state(tensors: dict[str, npt.NDArray[np.generic]], numbers: object) -> bool:
    if not isinstance(numbers, dict) or set(numbers) != set(NUMBERS):
        return False
    if set(tensors) != {"h", "c", "logits"}:
        return False
    h, c, logits = tensors["h"], tensors["c"], tensors["logits"]
    if any(each.dtype != np.float32 or not each.size for each in (h, c, logits)):
        return False
    if h.ndim != 2 or h.shape != c.shape or logits.ndim != 1:
        return False
    if not (np.abs(h).max() <= MOST_H and np.abs(c).max() <= MOST_C and np.isfinite(logits.max())):
        return False
    # -inf among the logits is a character that never begins a text.
    if (np.abs(logits) > MOST_LOGIT).any() and (logits.max() > MOST_LOGIT or numbers["characters"]):
        return False
    given = [numbers[name] for name in ("seed", "sample") if numbers[name] is not None]
    counts = [numbers["characters"], numbers["position"], *given]
    whole = all(type(each) is int and 0 <= each < 1 << 64 for each in counts)
    return whole and isinstance(numbers["weights_sha256"], str)
