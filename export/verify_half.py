"""The proof of fp16 graphs, in two links.

What reads texts is held against Torch: each step from Torch's own state, within what fp16 leaves
open. What draws is held against what reads, which has the same arithmetic: its tokens must be those
due by the logits that the other gives, and the states after them the same.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charlm.data.errors import ExportError
from charlm.export import contract, sequence_graph, verify, verify_generate
from charlm.export import contract_siblings as siblings
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import SEQUENCE_FP16, Kind
from charlm.export.half import HalfProducts
from charlm.export.proving import Arrays, Errors, batch_first, open_session
from charlm.export.reference_sampling import Settings, check_drawn, numbers
from charlm.export.weights import Weights
from charlm.train.model import CharLSTM

Ids = npt.NDArray[np.int64]
STATE = (contract.H_NEXT, contract.C_NEXT)
STEPS = 300  # read, each from Torch's own state
BLOCKS = 6  # drawn
# Gates' sums of up to 2^4 are rounded to 2^-7, and a sigmoid flattens that to 2^-9: 0.002 was found
# in the h of a trained model.
STEP_TOLERANCE = 1e-2
DRAWN_TOLERANCE = 1e-4  # of two graphs that do the same


@dataclass(frozen=True)
class HalfProof:
    """What was found of one graph.

    Attributes:
        errors: the largest, relative to s, by (batch, tensor name).
        against: what it was held against.
        tolerance: what was allowed.
    """

    errors: dict[tuple[int, str], float]
    against: str
    tolerance: float

    def lines(self) -> list[str]:
        """For people."""
        largest = max(self.errors.values())
        allowed = f"(allowed {self.tolerance:.0e})"
        return [f"largest relative error {largest:.1e} {self.against} {allowed}"]


def prove(
    session: Any, kind: Kind, model: CharLSTM, weights: Weights, metadata: Metadata, where: str
) -> HalfProof:
    """Hold an fp16 graph against what it must equal.

    Args:
        session: `onnxruntime.InferenceSession` of it, on the CPU.
        kind: what it is.
        model: the model in Torch.
        weights: of it.
        metadata: of it.
        where: the file's name, for messages.

    Raises:
        ExportError: they differ by more than the rounding explains.
    """
    if kind.family == "sequence":
        errors = _by_batch(lambda batch: _read_beside_torch(session, model, batch))
        proof = HalfProof(errors, "after one step beside Torch's float32", STEP_TOLERANCE)
    else:
        reader = sequence_graph.build_scan(HalfProducts(weights), metadata, SEQUENCE_FP16)
        beside = open_session(reader, SEQUENCE_FP16.name)
        errors = _by_batch(
            lambda batch: _draw_beside_reader(session, beside, kind, metadata, batch, where)
        )
        proof = HalfProof(errors, "beside the graph that reads in fp16", DRAWN_TOLERANCE)
    for (batch, name), error in errors.items():
        if not error <= proof.tolerance:  # NaN is not
            raise ExportError(
                f"{where}: {name} at batch {batch} differs by {error:.2e} of its size "
                f"{proof.against}, and {proof.tolerance:.0e} is allowed"
            )
    return proof


def _by_batch(compare: Any) -> dict[tuple[int, str], float]:
    return {
        (batch, name): error
        for batch in verify.BATCHES
        for name, error in compare(batch).relative().items()
    }


@torch.no_grad()
def _read_beside_torch(session: Any, model: CharLSTM, batch: int) -> Errors:
    names = (contract.LOGITS, *STATE)
    generator, errors = torch.Generator().manual_seed(verify.SEED), Errors.of(batch, names)
    token = torch.randint(model.config.vocabulary, (batch,), generator=generator)
    state = model.zero_state(batch)
    for _ in range(STEPS):
        before = [batch_first(part) for part in state]
        logits, state = model.step(token, state)
        found = _read(session, token.numpy()[:, None], before)
        errors.add(found, [logits.numpy(), *(batch_first(part) for part in state)])
        token = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    return errors


def _draw_beside_reader(
    session: Any, reader: Any, kind: Kind, metadata: Metadata, batch: int, where: str
) -> Errors:
    random, errors = np.random.RandomState(verify.SEED), Errors.of(batch, STATE)
    characters, steps = len(metadata.vocabulary), kind.steps or verify_generate.LENGTHS[-1]
    zeros = np.zeros((batch, metadata.layers, metadata.hidden), dtype=np.float32)
    state, logits = [zeros, zeros], None
    for turn in range(BLOCKS):
        settings = Settings.mixed(batch, turn, steps, characters, kind.filters)
        uniform = numbers(random, settings, steps)
        tokens, after = verify_generate.run(session, kind, state, uniform, settings)
        if tokens.max() >= characters:
            raise ExportError(f"{where} gives tokens that are no characters of the model")
        for step in range(steps):
            part = slice(step, step + 1)
            if logits is not None:
                failing = f"{where} does not draw as it reads"
                check_drawn(logits, tokens[:, part], uniform[:, part], settings, failing)
            logits, *state = _read(reader, tokens[:, part], state)
        errors.add(after, state)
        state = after
    return errors


def _read(session: Any, tokens: Ids, state: Arrays) -> Arrays:
    """Logits after the tokens, [batch, time], and h and c."""
    feed = {
        siblings.TOKENS: tokens,
        siblings.TARGETS: tokens,
        contract.H: state[0],
        contract.C: state[1],
    }
    outputs: Arrays = session.run([contract.LOGITS, *STATE], feed)
    return outputs
