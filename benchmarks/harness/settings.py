"""What a case is told: which model, which threads, how to sample. Small enough for one argument."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from charlm.data.system.errors import CharlmError, as_options

Run = Callable[[int], object]
"""Does so many units of work (characters, products) and returns what they made."""

PROMPT = "when i drew nigh the nameless city i kne"
"""The notebook's own seed text."""

LENGTH = len(PROMPT)  # 40, the characters in the notebook's window
STREAMS = 64  # texts side by side, where many are drawn at once
OPERATIONS = 1 << 20  # products and sums that a unit of the multiply-add limit counts as
TOP_K, TOP_P = 20, 0.9  # of the rows with filters

WEIGHTS = "weights.npz"
LITERT_STEP = "step.tflite"
PROBE = "probe.so"
SIZED = "hidden-"  # how the folder of a random model of another size begins
MODEL = "model.onnx"  # in such a folder


class CaseFailedError(CharlmError):
    """A case can't run here; the message is the reason that the report shows."""


@dataclass(frozen=True)
class CaseSettings:
    """What every case needs, as JSON on the worker's command line."""

    model: str  # the model file
    artifacts: str  # folder of what was derived from it (see `artifacts`)
    provider: str = "cpu"
    threads: int = 1  # 0: as many as the library likes
    temperature: float = 1.0  # the model's own distribution
    seed: int = 1
    path: str = "auto"  # which of charlm's ways to the next character, where a case is told
    precision: str = "float32"
    batch: int = 1  # texts side by side
    steps: int = 1  # characters of each text in one call of the library
    filtered: bool = False  # draw through top-k and top-p
    hidden: int = 0  # units a layer, where the model is a random one; 0: the model under test

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "CaseSettings":
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))

    def artifact(self, name: str) -> Path:
        """The path of a derived file.

        Raises:
            CaseFailedError: it could not be made; the message says why.
        """
        path = Path(self.artifacts) / name
        if not path.is_file():
            failure = reason_file(path)
            reason = failure.read_text(encoding="utf-8") if failure.is_file() else "not made"
            raise CaseFailedError(reason)
        return path


def reason_file(path: Path) -> Path:
    """Where the reason stands why a derived file could not be made."""
    return path.with_name(f"{path.name}.reason")


def reason_of(problem: Exception) -> str:
    """An error as one line; those of charlm speak for themselves, in the words of its commands."""
    text = " ".join(str(problem).split())
    if isinstance(problem, CharlmError):
        return as_options(text)
    return f"{type(problem).__name__}: {text}"
