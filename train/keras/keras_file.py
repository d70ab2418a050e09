"""A trained Keras model read from its file, without TensorFlow: configuration and arrays.

Keras 3 writes `.keras`, a zip archive of `config.json`, `metadata.json` and `model.weights.h5`;
every version since 2 writes `.h5`, one HDF5 file with the configuration as an attribute. The
content tells which one it is, not the name: early versions wrote HDF5 under either.
"""

import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from charlm.data.system.errors import CharlmError, ModelFileError
from charlm.data.system.files import os_errors_as
from charlm.train.keras import keras_h5
from charlm.train.keras.keras_architecture import Architecture, read_architecture
from charlm.train.keras.keras_h5 import Array

MAX_BYTES = 1 << 30  # of a file, and of the weights in it
MAX_JSON = 1 << 24
MAX_RATIO = 16  # weights hardly compress: what promises more is no archive of weights
ZIP, HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
NAMES = ("kernel", "recurrent_kernel", "bias")
DENSE_NAMES = ("kernel", "bias")

Find = Callable[[str, int, str, int], Any]
"""(layer's class, its number among its class, its name, the array's number) -> its dataset."""


@dataclass(frozen=True)
class KerasLSTM:
    """float32 arrays of a layer as Keras holds them, gates i, f, c, o along the last axis.

    Attributes:
        kernel: [inputs, 4 * hidden].
        recurrent: [hidden, 4 * hidden].
        bias: [4 * hidden]; the forget gate's part has its one in it already.
    """

    kernel: Array
    recurrent: Array
    bias: Array


@dataclass(frozen=True)
class KerasModel:
    """A trained model as its file has it.

    Attributes:
        layers: from the bottom up.
        head: [hidden, vocabulary].
        head_bias: [vocabulary].
        version: of the Keras that wrote it, as it says.
    """

    architecture: Architecture
    layers: tuple[KerasLSTM, ...]
    head: Array
    head_bias: Array
    version: str


def read_keras(path: Path) -> KerasModel:
    """Read a model that `model.save` wrote.

    Raises:
        ModelFileError: the file is missing, damaged or too large, is no Keras model, or one of an
            architecture that charlm does not have.
    """
    if path.is_dir():
        raise ModelFileError(
            f"{path}: a folder (a SavedModel?): save the model as a file, "
            "with model.save('model.keras')"
        )
    with os_errors_as(ModelFileError, f"can't read {path}"):
        if path.exists() and not path.is_file():
            raise ModelFileError(f"{path}: not an ordinary file")
        file = path.open("rb")
    with file:
        try:
            return _read(file)
        except CharlmError as problem:
            raise ModelFileError(f"{path}: {problem}") from problem
        except Exception as problem:  # HDF5, zlib and JSON each have errors of their own
            reason = (str(problem) or type(problem).__name__).partition("\n")[0][:200]
            raise ModelFileError(
                f"{path}: damaged, or not a whole Keras model ({reason}); save it again with "
                "model.save('model.keras')"
            ) from problem


def _read(file: IO[bytes]) -> KerasModel:
    size = os.fstat(file.fileno()).st_size
    if size > MAX_BYTES:
        raise ModelFileError(f"larger than {MAX_BYTES >> 20} MiB: too large for such a model")
    magic = file.read(8)
    file.seek(0)
    if magic.startswith(ZIP):
        return _read_archive(file)
    if magic == HDF5:
        with h5py.File(file, "r") as opened:
            return _read_h5(opened)
    raise ModelFileError(
        "neither a .keras archive nor an HDF5 file: save the model with model.save('model.keras')"
    )


def _read_archive(file: IO[bytes]) -> KerasModel:
    with zipfile.ZipFile(file) as archive:
        config = json.loads(_member(archive, "config.json", MAX_JSON))
        architecture = read_architecture(config)
        metadata = json.loads(_member(archive, "metadata.json", MAX_JSON))
        content = _member(archive, "model.weights.h5", MAX_BYTES, MAX_RATIO)
    with h5py.File(io.BytesIO(content), "r") as opened:
        # Keras 2.12 had another name for what is `layers` since.
        top = next((name for name in ("layers", "_layer_checkpoint_dependencies")
                    if name in opened), "layers")  # fmt: skip

        def find(kind: str, number: int, name: str, index: int) -> Any:
            del name  # layers are counted by class here, whatever their names
            folder = f"{kind}_{number}" if number else kind
            inner = f"{folder}/cell" if kind == "lstm" else folder
            return keras_h5.child(opened, f"{top}/{inner}/vars/{index}")

        return _assemble(architecture, find, metadata.get("keras_version"))


def _member(archive: zipfile.ZipFile, name: str, most: int, ratio: int | None = None) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError as problem:
        raise ModelFileError(f"a zip archive without {name}: not a .keras file") from problem
    bomb = ratio is not None and info.file_size > ratio * max(info.compress_size, 1 << 12)
    if info.file_size > most or bomb:
        raise ModelFileError(f"its {name} would unpack to {info.file_size:,} bytes: too large")
    with archive.open(info) as opened:
        return opened.read(most + 1)[:most]


def _read_h5(opened: Any) -> KerasModel:
    config = keras_h5.text(opened, "model_config")
    if config is None:
        raise ModelFileError(
            "an HDF5 file without model_config (weights alone?): save the whole model, "
            "with model.save"
        )
    architecture = read_architecture(json.loads(config))

    def find(kind: str, number: int, name: str, index: int) -> Any:
        del number
        wanted = (NAMES if kind == "lstm" else DENSE_NAMES)[index]
        group = keras_h5.child(opened, f"model_weights/{name}")
        paths = keras_h5.texts(group, "weight_names")
        (path,) = (p for p in paths if p.rpartition("/")[2].partition(":")[0] == wanted)
        return keras_h5.child(group, path)

    return _assemble(architecture, find, keras_h5.text(opened, "keras_version"))


def _assemble(architecture: Architecture, find: Find, version: object) -> KerasModel:
    hidden, size = architecture.hidden, architecture.vocabulary

    def read(kind: str, number: int, name: str, index: int, *shape: int) -> Array:
        part = (NAMES if kind == "lstm" else DENSE_NAMES)[index]
        where = f"the {part} of {name!r}"
        try:
            dataset = find(kind, number, name, index)
        except (KeyError, ValueError) as problem:
            raise ModelFileError(f"{where} is missing from it") from problem
        found = keras_h5.array(dataset, shape, where)
        if not np.isfinite(found).all():
            raise ModelFileError(f"{where} is not finite: the model's training diverged")
        return found

    layers = tuple(
        KerasLSTM(
            read("lstm", number, name, 0, hidden if number else size, 4 * hidden),
            read("lstm", number, name, 1, hidden, 4 * hidden),
            read("lstm", number, name, 2, 4 * hidden),
        )
        for number, name in enumerate(architecture.lstm)
    )
    dense = architecture.dense
    return KerasModel(
        architecture,
        layers,
        head=read("dense", 0, dense, 0, hidden, size),
        head_bias=read("dense", 0, dense, 1, size),
        version=str(version)[:40],
    )
