"""Memory of the host that a GPU copies at its full rate, as arrays."""

import ctypes
import functools
import math
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.export.contract.native import LIBRARY

SMALLEST = 1 << 16  # bytes; a copy of less takes no longer than starting it


class PinnedMemory:
    """Gives arrays; what one held is given to a later one once nobody has a view of it.

    To pin memory takes as long as many copies of it do: this is for arrays of about the same sizes,
    again and again. Where the driver pins no more, an array is in any memory.
    """

    def __init__(self) -> None:
        self._free: list[_Piece] = []
        self._lock = threading.Lock()  # of who takes; what is given back comes at any time
        self._refused = math.inf  # bytes: the least that could not be pinned

    def array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array of any content."""
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        piece = self._piece(size) if size >= SMALLEST else None
        if piece is None:
            return np.empty(shape, kind)
        memory = (ctypes.c_char * size).from_address(piece.address)
        weakref.finalize(memory, _give_back, weakref.ref(self), piece).atexit = False
        return np.frombuffer(memoryview(memory), kind).reshape(shape)

    def _piece(self, size: int) -> "_Piece | None":
        """The smallest that is free and large enough; else a new one in place of the smallest."""
        with self._lock:
            fitting = [piece for piece in self._free if piece.size >= size]
            if fitting:
                found = min(fitting, key=lambda piece: piece.size)
                self._free.remove(found)
                return found
            if size >= self._refused:
                return None
            if self._free:
                self._free.remove(min(self._free, key=lambda piece: piece.size))
            pin, unpin = _functions()
            address = pin(size)
            if not address:
                self._refused = size
                return None
            return _Piece(size, address, unpin)


def _give_back(memory: weakref.ref[PinnedMemory], piece: "_Piece") -> None:
    if (found := memory()) is not None:
        found._free.append(piece)


class _Piece:
    """Pinned memory, while this lives."""

    def __init__(self, size: int, address: int, unpin: Callable[[int], None]) -> None:
        self.size, self.address = size, address
        weakref.finalize(self, unpin, address).atexit = False


def pinned_for(device: str) -> PinnedMemory | None:
    """Memory for what a device gives; None where any is as good."""
    return PinnedMemory() if device == "cuda" else None


@functools.cache
def _functions() -> tuple[Callable[[int], int | None], Callable[[int], None]]:
    library = ctypes.CDLL(str(LIBRARY))
    pin, unpin = library.charlm_gpu_pinned, library.charlm_gpu_unpin
    pin.restype, pin.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    unpin.restype, unpin.argtypes = None, [ctypes.c_void_p]
    return pin, unpin
