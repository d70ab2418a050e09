"""What the cases need of a model, made once in a process of its own.

So no case's memory holds what only the preparation of another one imports.
`python -m charlm.benchmarks.artifacts MODEL FOLDER NAME...` writes the sizes (`model.json`) and
the named files: the weights (`weights.npz`), the notebook's window as a graph (`window.onnx`), the
step for LiteRT (`step.tflite`), `probe.cpp` compiled (`probe.so`), and random models of other sizes
(`hidden-N`, each a folder of the same). Where one can't be made, `NAME.reason` says why.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from charlm.benchmarks.harness.settings import PROMPT, CaseFailedError, reason_file

INFO = "model.json"
WEIGHTS = "weights.npz"
WINDOW = "window.onnx"
LITERT_STEP = "step.tflite"
PROBE = "probe.so"
MODEL = "model.onnx"  # in the folder of a random model
SIZED = "hidden-"
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


def prepare(model: Path, folder: Path, names: Sequence[str] = (WEIGHTS, WINDOW)) -> ModelInfo:
    """Fill `folder` with the named files.

    Raises:
        CaseFailedError: the model can't even be opened.
    """
    done = subprocess.run(
        [sys.executable, "-m", "charlm.benchmarks.artifacts", str(model), str(folder), *names],
        capture_output=True,
        text=True,
        check=False,
    )
    if not (folder / INFO).is_file():
        raise CaseFailedError(_last_line(done.stderr))
    return read_info(folder)


def sized(hidden: int) -> str:
    """The name of the random model with so many units."""
    return f"{SIZED}{hidden}"


def read_info(folder: Path) -> ModelInfo:
    """The sizes in an artifact folder."""
    return ModelInfo(**json.loads((folder / INFO).read_text(encoding="utf-8")))


class Source:
    """A model file and what is read out of it, each at most once."""

    def __init__(self, model: Path) -> None:
        self.model = model

    @cached_property
    def metadata(self) -> Any:
        """The `Metadata` of the file."""
        from charlm.infer.model.artifact import open_model

        return open_model(self.model, "cpu", 1).metadata

    @cached_property
    def arrays(self) -> dict[str, Any]:
        """The state of a `CharLSTM`, by Torch's names.

        Raises:
            MissingExtraError: Torch or onnx is not installed.
        """
        from charlm.data.system.extras import require

        require("torch", "train")
        require("onnx", "train")
        from charlm.export import weights

        ours, _ = weights.from_graph(self.model.read_bytes(), self.model.name)
        model = weights.to_torch(ours)
        return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def write(model: Path, folder: Path, names: Sequence[str] = (WEIGHTS, WINDOW)) -> None:
    """Write the named derived files of `model` into `folder`.

    Raises:
        CharlmError: not a model.
    """
    source = Source(model)
    metadata = source.metadata
    info = ModelInfo(
        file=model.name,
        bytes=model.stat().st_size,
        weights_sha256=metadata.weights_sha256,
        hidden=metadata.hidden,
        layers=metadata.layers,
        vocabulary=len(metadata.vocabulary),
    )
    (folder / INFO).write_text(json.dumps(asdict(info)), encoding="utf-8")
    for name in names:
        path = folder / name
        try:
            _maker(name)(source, path)
        except Exception as problem:
            reason = " ".join(str(problem).split()) or type(problem).__name__
            reason_file(path).write_text(reason, encoding="utf-8")


def first_window(vocabulary: Any, normalisation: Any) -> list[int]:
    """Token ids of the notebook's seed text, 40 of them whatever the vocabulary lacks."""
    known = vocabulary.encode(normalisation(PROMPT), "drop").tolist() or [0]
    repeated = known * -(-LENGTH // len(known))
    return list(repeated[-LENGTH:])


def _maker(name: str) -> Callable[[Source, Path], None]:
    return MAKERS[SIZED if name.startswith(SIZED) else name]


def _write_weights(source: Source, path: Path) -> None:
    import numpy as np

    metadata = source.metadata
    window = np.array(first_window(metadata.vocabulary, metadata.normalisation))
    characters = np.array(metadata.vocabulary.characters)
    np.savez(path, window=window, characters=characters, **source.arrays)


def _write_window(source: Source, path: Path) -> None:
    arrays = source.arrays
    from charlm.benchmarks import window_graph

    path.write_bytes(window_graph.build(arrays))


def _write_litert_step(source: Source, path: Path) -> None:
    from charlm.benchmarks import litert_graph

    path.write_bytes(litert_graph.build(source.arrays))


def _write_probe(_: Source, path: Path) -> None:
    from charlm.benchmarks.harness.probe import build

    build(read_info(path.parent), path)


def _write_sized(source: Source, path: Path) -> None:
    """A random model of another size, and what the cases need of it."""
    from charlm.benchmarks import synthetic

    path.mkdir()
    synthetic.write(int(path.name.removeprefix(SIZED)), source.metadata, path / MODEL)
    write(path / MODEL, path, (WEIGHTS, LITERT_STEP, PROBE))


MAKERS: dict[str, Callable[[Source, Path], None]] = {
    WEIGHTS: _write_weights,
    WINDOW: _write_window,
    LITERT_STEP: _write_litert_step,
    PROBE: _write_probe,
    SIZED: _write_sized,
}


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it could not be read"


if __name__ == "__main__":
    from charlm.data.system.errors import CharlmError

    try:
        write(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
    except CharlmError as error:
        sys.exit(str(error))
