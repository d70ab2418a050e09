"""The proof of int8 graphs: each step is that of the same int8 arithmetic in NumPy.

They can't be held against Torch's model, since int8 weights are another one. Each step starts from
the reference's own state, or one rounding that falls the other way would grow. Where a layer reads
the one below, whose h float32 has computed, a value within a hair of the boundary between two bytes
may take either: such a stream is left out of that step. What draws has other temperatures and
filters for each stream, and others again in the next step.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.data.errors import ExportError
from charlm.export import contract, verify, verify_generate
from charlm.export import contract_siblings as siblings
from charlm.export.contract_siblings import Kind
from charlm.export.int8_reference import Array, Doubles, Reference
from charlm.export.reference_sampling import Settings, check_drawn, due, numbers
from charlm.export.weights import Weights

Ids = npt.NDArray[np.int64]
State = tuple[Array, Array]
STATE = (contract.H_NEXT, contract.C_NEXT)

STEPS = 200  # at each of the batches
HAIR = 1e-4  # of a byte's unit: several times what float32 leaves open in h
BLOCK = 32  # steps that one run must give as so many runs do


@dataclass(frozen=True)
class Int8Proof:
    """What was found of one graph.

    Attributes:
        error: the largest of a step, relative to s = max(1, the tensor's magnitude).
        compared: streams times steps that were compared.
        left_out: those that lay too near another rounding.
    """

    error: float
    compared: int
    left_out: int

    def lines(self) -> list[str]:
        """For people: what was compared, and the largest error."""
        return [
            f"largest relative error, {self.compared:,} single steps beside the same int8 "
            f"arithmetic: {self.error:.1e} (allowed {verify.STEP_TOLERANCE:.0e})"
        ]


def prove(session: Any, kind: Kind, weights: Weights, where: str) -> Int8Proof:
    """Hold an int8 graph against its arithmetic in NumPy.

    Args:
        session: `onnxruntime.InferenceSession` of it.
        kind: what it is.
        weights: of the model that it was made from.
        where: the file's name, for messages.

    Raises:
        ExportError: a step differs by more than rounding explains, none could be compared, or many
            steps in one run give another result than as many runs.
    """
    graph = _Graph(session, kind, Reference(weights), where)
    error, compared, left_out = 0.0, 0, 0
    for batch in verify.BATCHES:
        random = np.random.RandomState(verify.SEED)
        state = _zeros(weights, batch)
        for turn in range(STEPS):
            found, wanted, margin = graph.step(random, state, turn)
            sure = margin >= HAIR
            pairs = zip(found, wanted, strict=True)
            errors = [_relative(ours[sure], theirs[sure]) for ours, theirs in pairs]
            error = float(np.max([error, *errors]))  # unlike `max`, it keeps NaN
            if not error <= verify.STEP_TOLERANCE:  # NaN is not
                raise ExportError(
                    f"{where} does not equal its own int8 arithmetic: a step of {batch} streams "
                    f"is off by {error:.2e} of its size; {verify.STEP_TOLERANCE:.0e} is allowed"
                )
            state = wanted[-2], wanted[-1]
            compared, left_out = compared + int(sure.sum()), left_out + int((~sure).sum())
    if compared == 0:
        raise ExportError(
            f"{where} can't be proven: each of its {left_out:,} steps lies next to another "
            "rounding, and none could be compared"
        )
    graph.check_one_run(_zeros(weights, 3))
    return Int8Proof(error, compared, left_out)


class _Graph:
    """A graph of either family beside its reference."""

    def __init__(self, session: Any, kind: Kind, reference: Reference, where: str) -> None:
        self.session, self.kind, self.reference, self.where = session, kind, reference, where
        self.characters = reference.weights.vocabulary

    def step(
        self, random: np.random.RandomState, state: State, turn: int
    ) -> tuple[list[Array], list[Array], Doubles]:
        """One step of both from `state`: what was found, what is due, and the margins."""
        batch = len(state[0])
        before = self.reference.logits(state[0][:, -1]).astype(np.float32)
        settings = self._settings(batch, turn, STEPS)
        uniform = numbers(random, settings, 1)
        if self.kind.family == "generate":
            drawn, *after = self.draw(uniform, state, settings)
            if drawn.max() >= self.characters:
                raise ExportError(f"{self.where} gives tokens that are no characters of the model")
            failing = f"{self.where} does not draw as its int8 arithmetic does"
            check_drawn(before, drawn, uniform, settings, failing)
            h, c, margin = self.reference.step(drawn[:, 0], *state)
            return after, [h, c], margin
        token = due(before[:, None], uniform, settings)[:, 0]
        token[1::2] = random.randint(0, self.characters, batch)[1::2]
        target = random.randint(0, self.characters, (batch, 1))
        found = self.read(token[:, None], target, state)
        h, c, margin = self.reference.step(token, *state)
        logits = self.reference.logits(h[:, -1])
        log_shares = logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1))[:, None]
        log_shares -= logits.max(1, keepdims=True)
        score = np.take_along_axis(log_shares, target, axis=1)
        return found, [score.astype(np.float32), logits.astype(np.float32), h, c], margin

    def draw(self, uniform: Array, state: State, settings: Settings) -> list[Any]:
        """Tokens [batch, steps], and h and c after them."""
        tokens, after = verify_generate.run(self.session, self.kind, [*state], uniform, settings)
        return [tokens, *after]

    def read(self, tokens: Ids, targets: Ids, state: State) -> list[Any]:
        """Log-probabilities [batch, time], and logits, h and c after them."""
        feed = {
            siblings.TOKENS: tokens,
            siblings.TARGETS: targets,
            contract.H: state[0],
            contract.C: state[1],
        }
        names = [siblings.LOG_PROBABILITY, contract.LOGITS, *STATE]
        outputs: list[Any] = self.session.run(names, feed)
        return outputs

    def check_one_run(self, start: State) -> None:
        """Many steps in one run leave the state that as many runs leave, to the last bit.

        Raises:
            ExportError: they don't.
        """
        random, batch = np.random.RandomState(verify.SEED), len(start[0])
        settings = self._settings(batch, 0, BLOCK)
        uniform = numbers(random, settings, BLOCK)
        ids = random.randint(0, self.characters, (batch, BLOCK + 1))
        first, *_, h, c = self._run(uniform, settings, ids, slice(BLOCK), start)
        pieces, state = [], start
        for place in range(BLOCK):
            part = slice(place, place + 1)
            piece, *_, h_next, c_next = self._run(uniform, settings, ids, part, state)
            pieces.append(piece)
            state = h_next, c_next
        same = all(np.array_equal(a, b) for a, b in zip((h, c), state, strict=True))
        # Log-probabilities of many characters are one product, of one another: they round apart.
        if not same or not np.allclose(np.concatenate(pieces, 1), first, atol=1e-4):
            raise ExportError(f"{self.where} gives another result in one run than in several")

    def _run(
        self, uniform: Array, settings: Settings, ids: Ids, part: slice, state: State
    ) -> list[Any]:
        if self.kind.family == "generate":
            return self.draw(uniform[:, part], state, settings)
        return self.read(ids[:, :-1][:, part], ids[:, 1:][:, part], state)

    def _settings(self, batch: int, turn: int, steps: int) -> Settings:
        return Settings.mixed(batch, turn, steps, self.characters, self.kind.filters)


def _zeros(weights: Weights, batch: int) -> State:
    shape = (batch, weights.layers, weights.hidden)
    return np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)


def _relative(found: Array, wanted: Array) -> float:
    """The largest error in s over the streams, [streams, ...]; 0 where there are none."""
    if len(found) == 0:
        return 0.0
    rows = wanted.astype(np.float64).reshape(len(wanted), -1)
    error = np.abs(found.reshape(rows.shape) - rows).max(axis=1)
    return float((error / np.maximum(1, np.abs(rows).max(axis=1))).max())
