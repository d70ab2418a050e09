"""The proof: a step graph and the Torch model give the same numbers, step by step.

On tokens that the model itself draws, with a fixed seed, at several batch sizes. An error is
measured against s = max(1, the tensor's largest magnitude in its stream), since the cells of a
trained model can pass 600, where float32 itself is no finer than 6e-5.
"""

from dataclasses import dataclass
from typing import Any

import torch

from charlm.data.system.errors import ExportError, ModelFileError
from charlm.export import contract
from charlm.export.proof.proving import (
    NOT_FINITE,
    Arrays,
    Errors,
    batch_first,
    judge,
    largest,
    one_thread,
    open_session,
)
from charlm.train.config import ModelConfig
from charlm.train.model import CharLSTM

BATCHES = (1, 3, 64)
STEPS = 1000
SEED = 0
STEP_TOLERANCE = 1e-5  # one step from Torch's own state
CARRIED_TOLERANCE = 1e-3  # after up to STEPS steps from the graph's own state
TENSORS = (contract.LOGITS, contract.H_NEXT, contract.C_NEXT)


@dataclass(frozen=True)
class Proof:
    """The largest errors found, each relative to s, by (batch, tensor name)."""

    step: dict[tuple[int, str], float]
    carried: dict[tuple[int, str], float]

    def lines(self) -> list[str]:
        """One line for each kind of error: the largest over all batches, by tensor."""
        return [
            f"{title}: "
            + ", ".join(f"{name} {largest(errors, name):.1e}" for name in TENSORS)
            + f" (allowed {tolerance:.0e})"
            for title, errors, tolerance in (
                ("one step", self.step, STEP_TOLERANCE),
                (f"{STEPS} carried steps", self.carried, CARRIED_TOLERANCE),
            )
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
        with contract.runtime_errors_as(ExportError, failed), one_thread():
            one, many = _compare(session, model, batch)
        step |= {(batch, name): error for name, error in one.relative().items()}
        carried |= {(batch, name): error for name, error in many.relative().items()}
    judge("the graph", "after one step", step, STEP_TOLERANCE)
    judge("the graph", f"within {STEPS} carried steps", carried, CARRIED_TOLERANCE)
    return Proof(step, carried)


def _open(content: bytes, config: ModelConfig, where: str) -> Any:
    session = open_session(content, where)
    with contract.runtime_errors_as(ModelFileError, f"{where}: ONNX Runtime can't load it"):
        contract.check_tensors(
            session,
            hidden=config.hidden,
            layers=config.layers,
            vocabulary=config.vocabulary,
            where=where,
        )
    return session


@torch.no_grad()
def _compare(session: Any, model: CharLSTM, batch: int) -> tuple[Errors, Errors]:
    """Walk both models over the same drawn tokens; the errors of single and carried steps."""
    generator = torch.Generator().manual_seed(SEED)
    size = model.config.vocabulary
    token = torch.randint(size, (batch,), generator=generator)
    state = model.zero_state(batch)
    own = [batch_first(part) for part in state]
    one, many = Errors.of(batch, TENSORS), Errors.of(batch, TENSORS)
    for _ in range(STEPS):
        before = [batch_first(part) for part in state]
        logits, state = model.step(token, state)
        if not logits.isfinite().all():
            raise ExportError(NOT_FINITE)
        wanted = [logits.numpy(), *(batch_first(part) for part in state)]
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
