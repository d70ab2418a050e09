"""Arrays and texts out of an HDF5 file that nobody vouches for."""

from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import ModelFileError

Array = npt.NDArray[np.float32]
MAX_TEXT = 1 << 24  # characters of a configuration; Keras's own have a few thousand


def child(group: Any, path: str) -> Any:
    """What stands at `path` below `group`, reached through the file's own groups alone.

    A link can lead back up, or into another file of this machine: none is followed.

    Raises:
        KeyError: there is nothing, or a link.
    """
    for name in filter(None, path.split("/")):
        if not isinstance(group, h5py.Group):
            raise KeyError(path)
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise KeyError(path)
        group = group[name]
    return group


def text(holder: Any, key: str) -> str | None:
    """An attribute as text; None where there is none.

    Raises:
        ValueError: it is no text, not UTF-8, or far too long.
    """
    if key not in holder.attrs:
        return None
    return _decoded(holder.attrs[key], key)


def texts(holder: Any, key: str) -> list[str]:
    """An attribute that is a list of texts; an empty list where there is none."""
    if key not in holder.attrs:
        return []
    return [_decoded(value, key) for value in np.ravel(holder.attrs[key])]


def array(dataset: Any, shape: tuple[int, ...], name: str) -> Array:
    """A dataset as float32.

    Args:
        dataset: what `child` found.
        shape: what it must have.
        name: for messages.

    Raises:
        ModelFileError: it is something else, of another shape or type, or its bytes are not all
            in this file as they are, so that reading it could fill the memory or open other files.
    """
    if not isinstance(dataset, h5py.Dataset):
        raise ModelFileError(f"{name} is not an array")
    if dataset.shape != shape:
        found = "x".join(map(str, dataset.shape or ()))
        raise ModelFileError(
            f"{name} has shape {found or 'none'}, not {'x'.join(map(str, shape))}, which its "
            "configuration asks for"
        )
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in (2, 4, 8):
        raise ModelFileError(f"{name} holds {dataset.dtype}, not floating-point numbers")
    elsewhere = dataset.is_virtual or dataset.external is not None
    if elsewhere or dataset.id.get_storage_size() != dataset.size * dataset.dtype.itemsize:
        raise ModelFileError(
            f"{name} is compressed, or not in the file itself: save the model with Keras's "
            "model.save and without further steps"
        )
    return np.ascontiguousarray(dataset[()], dtype=np.float32)


def _decoded(value: object, key: str) -> str:
    if isinstance(value, bytes) and len(value) <= MAX_TEXT:
        value = value.decode()
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise ValueError(f"its {key} is not a text of at most {MAX_TEXT >> 20} MiB")
    return value
