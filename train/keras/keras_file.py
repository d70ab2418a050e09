"""A trained Keras model out of its file: Keras reads its arrays, into a model that is made here.

Keras 3 writes `.keras`, a zip archive of `config.json`, `metadata.json` and `model.weights.h5`;
every version since 2 writes `.h5`, one HDF5 file with the configuration as an attribute. The
content tells which one it is, not the name: early versions wrote HDF5 under either.

Nothing is built from the configuration but LSTM layers and a Dense one, of sizes that the file has
room for: a stranger's file runs no code (`Lambda` layers, for example, are refused by name), and
what an older Keras wrote beside those sizes is nobody's concern.
"""

import io
import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
import numpy.typing as npt
import torch

from charlm.data.system.errors import CharlmError, ModelFileError, SettingsError
from charlm.data.system.extras import require
from charlm.data.system.files import os_errors_as
from charlm.train.keras.keras_architecture import Architecture, read_architecture

Array = npt.NDArray[np.float32]
MAX_BYTES = 1 << 30  # of a file, and of the weights in it
MAX_JSON = 1 << 24
MAX_RATIO = 16  # weights hardly compress: what promises more is no archive of weights
ZIP, HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class KerasModel:
    """A trained model as its file has it."""

    architecture: Architecture
    network: Any  # a `keras.Sequential` from one-hot characters to logits, in float32 on the CPU
    version: str  # of the Keras that wrote it, as it says

    def weights(self) -> list[Array]:
        """Kernel [inputs, 4 * hidden], recurrent kernel [hidden, 4 * hidden] and bias [4 * hidden]
        of each LSTM layer from the bottom up, gates i, f, c, o; kernel [hidden, vocabulary] and
        bias [vocabulary] of the Dense layer.
        """
        return list(self.network.get_weights())

    @torch.no_grad()
    def logits(self, windows: npt.NDArray[np.int64]) -> Array:
        """Keras's logits after each window, read from a zero state; its output is their softmax.

        Args:
            windows: token ids in Keras's order, shape [windows, time].

        Returns:
            float32 of shape [windows, vocabulary].
        """
        keras = keras_on_torch()
        with keras.device("cpu"):
            one_hot = keras.ops.one_hot(windows, self.architecture.vocabulary, dtype="float32")
            found: Array = self.network(one_hot, training=False).numpy()
        return found


def keras_on_torch() -> Any:
    """Keras with Torch as its backend, which writes nothing into the home folder.

    Raises:
        MissingExtraError: it is not installed.
        SettingsError: this process has imported it with another backend.
    """
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "torch"
        os.environ.setdefault("KERAS_HOME", os.devnull)
    keras = require("keras", "keras")
    if (backend := keras.config.backend()) != "torch":
        raise SettingsError(
            f"Keras was imported with the backend {backend} before charlm: set KERAS_BACKEND=torch "
            "before that, or import in a process of its own, with charlm-import"
        )
    return keras


def read_keras(path: Path) -> KerasModel:
    """Read a model that `model.save` wrote.

    No array, attribute or member may promise more than the file holds, since room is made for it
    before it is read: a damaged file takes about as much memory as a whole one. But the length of
    a text that stands apart from its attribute is known to HDF5 alone, which makes room for up to
    4 GiB before it finds that the file ends.

    Raises:
        ModelFileError: the file is missing, damaged or too large, is no Keras model, or one of an
            architecture that charlm does not have.
        MissingExtraError, SettingsError: see `keras_on_torch`.
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
    keras_on_torch()
    with file:
        try:
            return _read(file)
        except CharlmError as problem:
            raise ModelFileError(f"{path}: {problem}") from problem
        except Exception as problem:  # HDF5, zlib, JSON and Keras each have errors of their own
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
    if magic.startswith(ZIP):
        suffix = ".keras"
        config, version, size = _archive_header(file)
    elif magic == HDF5:
        suffix = ".h5"
        config, version = _h5_header(file, size)
    else:
        raise ModelFileError(
            "neither a .keras archive nor an HDF5 file: save the model with "
            "model.save('model.keras')"
        )
    architecture = read_architecture(json.loads(config))
    if 2 * architecture.weights > size:  # of float16, the smallest that there is
        raise ModelFileError(
            f"its configuration asks for {architecture.weights:,} weights, and the file has no "
            "room for so many: damaged?"
        )
    network = _network(architecture)
    with tempfile.TemporaryDirectory() as folder:  # Keras goes by the suffix
        copy = Path(folder) / f"model{suffix}"
        file.seek(0)
        with copy.open("wb") as opened:
            shutil.copyfileobj(file, opened)
        network.load_weights(copy)
    if not all(np.isfinite(each).all() for each in network.get_weights()):
        raise ModelFileError("its weights are not finite, or not all there: did training diverge?")
    return KerasModel(architecture, network, str(version)[:40])


def _network(architecture: Architecture) -> Any:
    """The model with NaN for all weights, so that none can be missed."""
    keras = keras_on_torch()
    nan = keras.initializers.Constant(float("nan"))
    common = {"kernel_initializer": nan, "bias_initializer": nan, "dtype": "float32"}
    with keras.device("cpu"):
        layers = [
            keras.layers.LSTM(
                architecture.hidden,
                return_sequences=number < architecture.layers - 1,
                recurrent_initializer=nan,
                unit_forget_bias=False,
                **common,
            )
            for number in range(architecture.layers)
        ]
        head = keras.layers.Dense(architecture.vocabulary, **common)
        return keras.Sequential([keras.Input((None, architecture.vocabulary)), *layers, head])


def _archive_header(file: IO[bytes]) -> tuple[bytes | str, object, int]:
    """The configuration, the version of Keras, and the size of the checked weights."""
    with zipfile.ZipFile(file) as archive:
        config = _member(archive, "config.json", MAX_JSON)
        metadata = json.loads(_member(archive, "metadata.json", MAX_JSON))
        weights = _member(archive, "model.weights.h5", MAX_BYTES, MAX_RATIO)
    with h5py.File(io.BytesIO(weights), "r") as opened:
        _check_sizes(opened, len(weights))
    return config, metadata.get("keras_version"), len(weights)


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


def _h5_header(file: IO[bytes], size: int) -> tuple[bytes | str, object]:
    with h5py.File(file, "r") as opened:
        _check_sizes(opened, size)
        attributes: Mapping[str, Any] = opened.attrs
        if "model_config" not in attributes:
            raise ModelFileError(
                "an HDF5 file without model_config (weights alone?): save the whole model, "
                "with model.save"
            )
        return attributes["model_config"], attributes.get("keras_version")


def _check_sizes(opened: Any, size: int) -> None:
    """Refuse an HDF5 file of `size` bytes that promises more; only its headers are read."""

    def check(name: str, item: Any) -> None:
        sizes = [item.nbytes] if isinstance(item, h5py.Dataset) else []
        for key in item.attrs:
            attribute = item.attrs.get_id(key)
            sizes.append(int(np.prod(attribute.shape, dtype=float)) * attribute.dtype.itemsize)
        if max(sizes, default=0) > size:
            raise ModelFileError(f"its {name} is said to be larger than the file: damaged?")

    check("header", opened)
    opened.visititems(check)
