"""What the cases need of a model, made once in a process of its own.

So no case's memory holds what only the preparation of another one imports.
`python -m charlm.benchmarks.artifacts MODEL FOLDER` writes the sizes (`model.json`), the weights
(`weights.npz`) and the notebook's window as a graph (`window.onnx`); where the last two can't be
made, `failure.txt` says why.
"""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from charlm.benchmarks.settings import PROMPT, CaseFailedError

INFO = "model.json"
WEIGHTS = "weights.npz"
WINDOW = "window.onnx"
LENGTH = 40  # characters in the notebook's window


@dataclass(frozen=True)
class ModelInfo:
    """What a report says of the model that was measured."""

    file: str  # its name, without folders
    bytes: int
    weights_sha256: str
    hidden: int
    layers: int
    vocabulary: int

    @property
    def products(self) -> tuple[tuple[int, int], ...]:
        """The matrices that each character's state is multiplied by, as (rows, columns).

        The first layer's input needs none: a one-hot row times a matrix is a row of it.
        """
        hidden = self.hidden
        upper = ((2 * hidden, 4 * hidden),) * (self.layers - 1)
        return ((hidden, 4 * hidden), *upper, (hidden, self.vocabulary))

    @property
    def flops(self) -> int:
        """Floating-point operations that a character's products need at the least."""
        return sum(2 * rows * columns for rows, columns in self.products)


def prepare(model: Path, folder: Path) -> ModelInfo:
    """Fill `folder` with the derived files.

    Raises:
        CaseFailedError: the model can't even be opened.
    """
    done = subprocess.run(
        [sys.executable, "-m", "charlm.benchmarks.artifacts", str(model), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if not (folder / INFO).is_file():
        raise CaseFailedError(_last_line(done.stderr))
    return read_info(folder)


def read_info(folder: Path) -> ModelInfo:
    """The sizes in an artifact folder."""
    return ModelInfo(**json.loads((folder / INFO).read_text(encoding="utf-8")))


def write(model: Path, folder: Path) -> None:
    """Write the derived files of `model` into `folder`.

    Raises:
        CharlmError: not a model, or an optional dependency is missing.
    """
    from charlm.infer.artifact import open_model

    metadata = open_model(model, "cpu", 1).metadata
    info = ModelInfo(
        file=model.name,
        bytes=model.stat().st_size,
        weights_sha256=metadata.weights_sha256,
        hidden=metadata.hidden,
        layers=metadata.layers,
        vocabulary=len(metadata.vocabulary),
    )
    (folder / INFO).write_text(json.dumps(asdict(info)), encoding="utf-8")
    try:
        _write_weights(model, folder)
    except Exception as problem:
        (folder / "failure.txt").write_text(" ".join(str(problem).split()), encoding="utf-8")


def first_window(vocabulary: Any, normalisation: Any) -> list[int]:
    """Token ids of the notebook's seed text, 40 of them whatever the vocabulary lacks."""
    known = vocabulary.encode(normalisation(PROMPT), "drop").tolist() or [0]
    repeated = known * -(-LENGTH // len(known))
    return list(repeated[-LENGTH:])


def _write_weights(model: Path, folder: Path) -> None:
    import numpy as np

    from charlm.data.extras import require

    require("torch", "train")
    require("onnx", "train")
    from charlm.benchmarks import window_graph
    from charlm.export import read_graph, weights

    content = model.read_bytes()
    ours, metadata = read_graph.read_graph(content, model.name)
    arrays = {name: tensor.numpy() for name, tensor in weights.to_torch(ours).state_dict().items()}
    window = np.array(first_window(metadata.vocabulary, metadata.normalisation))
    characters = np.array(metadata.vocabulary.characters)
    (folder / WINDOW).write_bytes(window_graph.build(arrays))
    np.savez(folder / WEIGHTS, window=window, characters=characters, **arrays)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it could not be read"


if __name__ == "__main__":
    from charlm.data.errors import CharlmError

    try:
        write(Path(sys.argv[1]), Path(sys.argv[2]))
    except CharlmError as error:
        sys.exit(str(error))
