"""What the cases need of a model, made once in a process of its own.

So no case's memory holds what only the preparation of another one imports.
`python -m charlm.benchmarks.harness.artifacts MODEL FOLDER NAME...` writes the sizes
(`model.json`) and the named files; where one can't be made, `NAME.reason` says why.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charlm.benchmarks.harness import settings
from charlm.benchmarks.harness.settings import CaseFailedError
from charlm.data.system.package import command_of

if TYPE_CHECKING:
    from charlm.export.contract import Metadata

INFO = "model.json"


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


def prepare(model: Path, folder: Path, names: Sequence[str] = ()) -> ModelInfo:
    """Fill `folder` with the named files.

    Raises:
        CaseFailedError: the model can't even be opened.
    """
    again = command_of("charlm.benchmarks.harness.artifacts", str(model), str(folder), *names)
    done = subprocess.run(again, capture_output=True, text=True, check=False)
    if not (folder / INFO).is_file():
        raise CaseFailedError((done.stderr.strip() or "it could not be read").splitlines()[-1])
    return read_info(folder)


def read_info(folder: Path) -> ModelInfo:
    """The sizes in an artifact folder."""
    return ModelInfo(**json.loads((folder / INFO).read_text(encoding="utf-8")))


def write(model: Path, folder: Path, names: Sequence[str]) -> None:
    """Write the named derived files of `model` into `folder`.

    Raises:
        CharlmError: not a model.
    """
    from charlm.infer.model.open import open_model

    metadata = open_model(model, "cpu", 1).metadata
    info = ModelInfo(
        model.name, model.stat().st_size, metadata.weights_sha256,
        metadata.hidden, metadata.layers, len(metadata.vocabulary),
    )  # fmt: skip
    (folder / INFO).write_text(json.dumps(asdict(info)), encoding="utf-8")
    for path in (folder / name for name in names):
        try:
            _make(path, model, metadata)
        except Exception as problem:
            settings.reason_file(path).write_text(settings.reason_of(problem), encoding="utf-8")


def _arrays(model: Path) -> dict[str, Any]:
    """The state of a `CharLSTM`, by Torch's names.

    Raises:
        MissingExtraError: Torch or onnx is not installed.
    """
    from charlm.data.system.extras import require

    require("torch", "train")
    require("onnx", "train")
    from charlm.export import weights

    ours, _ = weights.from_graph(model.read_bytes(), model.name)
    return {name: tensor.numpy() for name, tensor in weights.to_torch(ours).state_dict().items()}


def _make(path: Path, model: Path, metadata: "Metadata") -> None:
    """Write the derived file that `path` names."""
    if path.name == settings.WEIGHTS:
        _write_weights(path, model, metadata)
    elif path.name == settings.LITERT_STEP:
        from charlm.benchmarks.cases import litert

        path.write_bytes(litert.graph(_arrays(model)))
    elif path.name == settings.PROBE:
        from charlm.benchmarks.cases import probe

        probe.build(read_info(path.parent), path)
    else:
        _write_sized(path, metadata)


def _write_weights(path: Path, model: Path, metadata: "Metadata") -> None:
    """With the characters, and the notebook's seed text: 40 ids whatever the vocabulary lacks."""
    import numpy as np

    vocabulary = metadata.vocabulary
    known = vocabulary.encode(metadata.normalisation(settings.PROMPT), "drop").tolist() or [0]
    window = np.array((known * settings.LENGTH)[-settings.LENGTH :])
    characters = np.array(vocabulary.characters)
    np.savez(path, window=window, characters=characters, **_arrays(model))


def _write_sized(path: Path, like: "Metadata") -> None:
    """A random one-layer model of another size, and what the cases need of it.

    It is as fast as a trained one, and as good as noise.

    Raises:
        MissingExtraError: Torch or onnx is not installed.
    """
    from charlm.data.system.extras import require

    torch = require("torch", "train")
    require("onnx", "train")
    from charlm.export import weights
    from charlm.export.contract import Metadata
    from charlm.export.graphs import step_graph
    from charlm.train.config import ModelConfig
    from charlm.train.model import CharLSTM

    hidden = int(path.name.removeprefix(settings.SIZED))
    model = CharLSTM(ModelConfig(len(like.vocabulary), hidden))
    model.initialise(torch.Generator().manual_seed(hidden))
    laid_out = weights.from_torch(model)
    metadata = Metadata(
        hidden, 1, like.vocabulary, like.normalisation, like.initial, weights.sha256(laid_out)
    )
    path.mkdir()
    (path / settings.MODEL).write_bytes(step_graph.build(laid_out, metadata))
    write(path / settings.MODEL, path, (settings.WEIGHTS, settings.LITERT_STEP, settings.PROBE))


if __name__ == "__main__":
    from charlm.data.system.errors import CharlmError

    try:
        write(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
    except CharlmError as error:
        sys.exit(str(error))
