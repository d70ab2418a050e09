"""The proof: a step graph and the Torch model give the same numbers, step by step.

On tokens that the model itself draws, with a fixed seed, at several batch sizes. An error is
measured against s = max(1, the tensor's largest magnitude in its stream), since the cells of a
trained model can pass 600, where float32 itself is no finer than 6e-5.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charlm.data.errors import ExportError, ModelFileError
from charlm.data.extras import require_onnxruntime
from charlm.export import contract
from charlm.train.config import ModelConfig
from charlm.train.model import CharLSTM

BATCHES = (1, 3, 64)
STEPS = 1000
SEED = 0
STEP_TOLERANCE = 1e-5  # one step from Torch's own state
CARRIED_TOLERANCE = 1e-3  # after up to STEPS steps from the graph's own state
TENSORS = (contract.LOGITS, contract.H_NEXT, contract.C_NEXT)
Arrays = list[npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Proof:
    """The largest errors found, each relative to s, by (batch, tensor name)."""

    step: dict[tuple[int, str], float]
    carried: dict[tuple[int, str], float]

    def lines(self) -> list[str]:
        """One line for each kind of error: the largest over all batches, by tensor."""
        return [
            f"{title}: "
            + ", ".join(f"{name} {_largest(errors, name):.1e}" for name in TENSORS)
            + f" (allowed {tolerance:.0e})"
            for title, errors, tolerance in (
                ("one step", self.step, STEP_TOLERANCE),
                (f"{STEPS} carried steps", self.carried, CARRIED_TOLERANCE),
            )
        ]


@dataclass
class _Errors:
    """Running maxima of error and magnitude for each stream, shape [batch], by tensor."""

    error: Arrays
    magnitude: Arrays

    @classmethod
    def of(cls, batch: int) -> "_Errors":
        zeros = [np.zeros(batch, dtype=np.float32) for _ in TENSORS]
        return cls(zeros, [array.copy() for array in zeros])

    def add(self, found: Sequence[Any], wanted: Sequence[Any]) -> None:
        for index, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
            batch = len(ours)
            with np.errstate(over="ignore", invalid="ignore"):
                error = np.abs(ours - theirs).reshape(batch, -1).max(axis=1)
            magnitude = np.abs(theirs).reshape(batch, -1).max(axis=1)
            # np.maximum keeps NaN, so a graph that gives NaN can't pass.
            self.error[index] = np.maximum(self.error[index], error)
            self.magnitude[index] = np.maximum(self.magnitude[index], magnitude)

    def relative(self) -> list[float]:
        return [
            float((error / np.maximum(1, magnitude)).max())
            for error, magnitude in zip(self.error, self.magnitude, strict=True)
        ]


def prove(content: bytes, model: CharLSTM, where: str = "the graph") -> Proof:
    """Run a step graph beside the Torch model and compare logits, h and c at every step.

    Args:
        content: the serialised graph, its weights within; run by ONNX Runtime on the CPU.
        model: the model that it must equal, on the CPU.
        where: the file's name, for messages.

    Raises:
        ModelFileError: ONNX Runtime can't load the graph, or it is no step graph of this size.
        ExportError: an error is above its tolerance, or a number is not finite; the message says
            where and how large.
    """
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise ExportError(f"{where}: the model's weights hold numbers that are not finite")
    session = _open(content, model.config, where)
    step: dict[tuple[int, str], float] = {}
    carried: dict[tuple[int, str], float] = {}
    for batch in BATCHES:
        failed = f"{where}: a step of {batch} streams failed"
        with contract.runtime_errors_as(ExportError, failed), _one_thread():
            one, many = _compare(session, model, batch)
        for name, a, b in zip(TENSORS, one.relative(), many.relative(), strict=True):
            step[batch, name], carried[batch, name] = a, b
    _judge("after one step", step, STEP_TOLERANCE)
    _judge(f"within {STEPS} carried steps", carried, CARRIED_TOLERANCE)
    return Proof(step, carried)


def _open(content: bytes, config: ModelConfig, where: str) -> Any:
    runtime = require_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # errors come as exceptions
    with contract.runtime_errors_as(ModelFileError, f"{where}: ONNX Runtime can't load it"):
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        contract.check_tensors(
            session,
            hidden=config.hidden,
            layers=config.layers,
            vocabulary=config.vocabulary,
            where=where,
        )
    return session


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Torch without helpers: they gain nothing on steps this small, and beside another busy
    process each step waits for one that spins: a minute instead of seconds.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def _compare(session: Any, model: CharLSTM, batch: int) -> tuple[_Errors, _Errors]:
    """Walk both models over the same drawn tokens; the errors of single and carried steps."""
    generator = torch.Generator().manual_seed(SEED)
    size = model.config.vocabulary
    token = torch.randint(size, (batch,), generator=generator)
    state = model.zero_state(batch)
    own = [_batch_first(part) for part in state]
    one, many = _Errors.of(batch), _Errors.of(batch)
    for _ in range(STEPS):
        before = [_batch_first(part) for part in state]
        logits, state = model.step(token, state)
        if not logits.isfinite().all():
            raise ExportError("the Torch model gives logits that are not finite: train it anew")
        wanted = [logits.numpy(), *(_batch_first(part) for part in state)]
        one.add(_run(session, token, before), wanted)
        carried = _run(session, token, own)
        many.add(carried, wanted)
        own = carried[1:]
        token = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    return one, many


def _run(session: Any, token: torch.Tensor, state: Arrays) -> Arrays:
    feed = {contract.TOKEN: token.numpy(), contract.H: state[0], contract.C: state[1]}
    outputs: Arrays = session.run(list(TENSORS), feed)
    return outputs


def _batch_first(state: torch.Tensor) -> npt.NDArray[np.float32]:
    """Torch's [layers, batch, hidden] as the graph's [batch, layers, hidden]."""
    return np.ascontiguousarray(state.transpose(0, 1).numpy())


def _judge(where: str, errors: dict[tuple[int, str], float], tolerance: float) -> None:
    for (batch, name), error in errors.items():
        if not error <= tolerance:
            raise ExportError(
                f"the graph does not equal the Torch model: {name} {where} at batch {batch} "
                f"differs by {error:.2e} of its size, and {tolerance:.0e} is allowed"
            )


def _largest(errors: dict[tuple[int, str], float], name: str) -> float:
    return max(error for (_, tensor), error in errors.items() if tensor == name)
