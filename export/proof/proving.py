"""What every proof shares: a session, Torch on one thread, errors relative to a tensor's size."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charlm.data.system.errors import ExportError, ModelFileError
from charlm.data.system.extras import require_onnxruntime
from charlm.export import contract

Arrays = list[npt.NDArray[np.float32]]
NOT_FINITE = "the Torch model gives logits that are not finite: train it anew"


@dataclass
class Errors:
    """Running maxima of error and magnitude for each stream, shape [batch], by tensor."""

    names: tuple[str, ...]
    error: Arrays
    magnitude: Arrays

    @classmethod
    def of(cls, batch: int, names: tuple[str, ...]) -> "Errors":
        """None found yet."""
        zeros = [np.zeros(batch, dtype=np.float32) for _ in names]
        return cls(names, zeros, [array.copy() for array in zeros])

    @property
    def batch(self) -> int:
        """Streams."""
        return len(self.error[0])

    def add(self, found: Sequence[Any], wanted: Sequence[Any]) -> None:
        """Compare tensors, in the order of the names, batch first."""
        for index, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
            batch = len(ours)
            with np.errstate(over="ignore", invalid="ignore"):
                error = np.abs(ours - theirs).reshape(batch, -1).max(axis=1)
            magnitude = np.abs(theirs).reshape(batch, -1).max(axis=1)
            # np.maximum keeps NaN, so a graph that gives NaN can't pass.
            self.error[index] = np.maximum(self.error[index], error)
            self.magnitude[index] = np.maximum(self.magnitude[index], magnitude)

    def relative(self) -> dict[str, float]:
        """By tensor, the largest error in s = max(1, the tensor's magnitude in its stream)."""
        return {
            name: float((error / np.maximum(1, magnitude)).max())
            for name, error, magnitude in zip(self.names, self.error, self.magnitude, strict=True)
        }


def judge(
    subject: str, where: str, errors: Mapping[tuple[int, str], float], tolerance: float
) -> None:
    """Refuse a graph with an error above the tolerance.

    Args:
        subject: what is proven, for the message.
        where: in which part of the proof.
        errors: relative to s, by (batch, tensor).
        tolerance: the largest that is allowed.

    Raises:
        ExportError: an error is larger, or not a number.
    """
    for (batch, name), error in errors.items():
        if not error <= tolerance:
            raise ExportError(
                f"{subject} does not equal the Torch model: {name} {where} at batch {batch} "
                f"differs by {error:.2e} of its size, and {tolerance:.0e} is allowed"
            )


def largest(errors: Mapping[tuple[int, str], float], name: str) -> float:
    """The largest error of a tensor over all batches."""
    return max(error for (_, tensor), error in errors.items() if tensor == name)


def open_session(content: bytes, where: str) -> Any:
    """`onnxruntime.InferenceSession` of a graph on one thread of the CPU.

    Raises:
        ModelFileError: ONNX Runtime can't load it.
    """
    runtime, options = require_onnxruntime(), cpu_options()
    with contract.runtime_errors_as(ModelFileError, f"{where}: ONNX Runtime can't load it"):
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def cpu_options() -> Any:
    """`onnxruntime.SessionOptions` of one thread, quiet, without weights from other files."""
    options = require_onnxruntime().SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # errors come as exceptions
    options.add_session_config_entry(contract.EXTERNAL_FOLDER, __file__)
    return options


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch without helpers: they gain nothing on steps this small, and beside another busy
    process each step waits for one that spins: a minute instead of seconds.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def batch_first(state: torch.Tensor) -> npt.NDArray[np.float32]:
    """Torch's [layers, batch, hidden] as the graph's [batch, layers, hidden]."""
    return np.ascontiguousarray(state.transpose(0, 1).numpy())
