"""The graphs as proofs and measurements run them: one that reads, one that draws, the operator."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import ModelFileError
from charlm.data.system.extras import require_onnxruntime
from charlm.export import contract as names
from charlm.export.contract import C_NEXT, GREEDY, GREEDY_UNIFORM, H_NEXT, LOGITS, C, H, Metadata
from charlm.export.contract import native as contract_native
from charlm.export.graphs.genai_graph import AFTER, BEFORE, INPUT_IDS

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Arrays = dict[str, Floats]
Drawn = tuple[Floats, Ids, Arrays]
Reader: TypeAlias = "SequenceGraph | NativeGraph | GenaiGraph"
Drawer: TypeAlias = "GenerateGraph | NativeGraph"

READ = (names.LOG_PROBABILITY, LOGITS, H_NEXT, C_NEXT)
DRAWN = (names.TOKENS, H_NEXT, C_NEXT)
SEED = 0
WORD_BITS = 41  # of a random word that a uniform number leaves out


def open_session(content: bytes, where: str, native: str | None = None, device: str = "cpu") -> Any:
    """`onnxruntime.InferenceSession` of a graph on one thread of the CPU.

    Args:
        native: the precision in which charlm's operator computes; None: the graph has none.

    Raises:
        ModelFileError: ONNX Runtime or the operator can't load it.
    """
    runtime, options = require_onnxruntime(), names.session_options(1)
    with names.runtime_errors_as(ModelFileError, f"{where}: ONNX Runtime can't load it"):
        if native is not None:
            contract_native.add_entries(options, native, threads=1, device=device)
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(session: Any, outputs: Sequence[str], feed: dict[str, Any]) -> dict[str, Any]:
    """The outputs of a run, by name."""
    return dict(zip(outputs, session.run(list(outputs), feed), strict=True))


class SequenceGraph:
    """A graph of kind `sequence`."""

    def __init__(self, content: bytes, where: str) -> None:
        self.session = open_session(content, where)

    def read(self, ids: Ids, state: Arrays) -> Arrays:
        """What it makes of texts, int64 [batch, time + 1], of which it reads all but the last id.

        Returns:
            `log_probability` [batch, time], of each id but the first, and the rest of `READ`.
        """
        feed = state | {names.TOKENS: ids[:, :-1], names.TARGETS: ids[:, 1:]}
        return run(self.session, READ, feed)


class GenaiGraph:
    """The graph that ONNX Runtime GenAI drives.

    Args:
        content: the serialised graph.
        where: the file's name, for messages.
    """

    def __init__(self, content: bytes, where: str) -> None:
        self.session = open_session(content, where)

    def read(self, ids: Ids, state: Arrays) -> Arrays:
        """See `SequenceGraph`."""
        feed: dict[str, Any] = {BEFORE[name]: array for name, array in state.items()}
        found = run(self.session, (LOGITS, *AFTER.values()), feed | {INPUT_IDS: ids[:, :-1]})
        every = found[LOGITS][:, :, :-1].astype(np.float64)  # the last is of the end
        largest = every.max(axis=2, keepdims=True)
        sums = np.log(np.exp(every - largest).sum(axis=2, keepdims=True)) + largest
        shares = np.take_along_axis(every - sums, ids[:, 1:, None], axis=2)[:, :, 0]
        after = {own: found[theirs] for own, theirs in AFTER.items()}
        return {names.LOG_PROBABILITY: shares, LOGITS: found[LOGITS][:, -1, :-1], **after}


class GenerateGraph:
    """A graph of kind `generate`, with numbers from a fixed seed."""

    def __init__(self, content: bytes, where: str) -> None:
        self.session, self._random = open_session(content, where), np.random.RandomState(SEED)

    def draw(self, state: Arrays, inverse_temperature: Floats, steps: int) -> Drawn:
        """The numbers that chose, float32 [batch, steps]; what they chose; h and c after it."""
        words = self._random.randint(0, 1 << 23, (len(inverse_temperature), steps))
        uniform = ((words + 0.5) * 2.0**-23).astype(np.float32)
        uniform[inverse_temperature == GREEDY] = GREEDY_UNIFORM
        feed = {names.UNIFORM: uniform, names.INVERSE_TEMPERATURE: inverse_temperature}
        after = run(self.session, DRAWN, state | feed)
        return uniform, after.pop(names.TOKENS).astype(np.int64), after


class NativeGraph:
    """The native graph, which reads and draws; its random numbers go by their positions.

    Args:
        precision: `float32`, `int8` or, on a GPU, `fp16`.

    Raises:
        ModelFileError: ONNX Runtime or the operator can't load it.
    """

    def __init__(self, content: bytes, where: str, precision: str = "float32") -> None:
        device = "cuda" if precision == "fp16" else "cpu"
        self.session = open_session(content, where, precision, device)
        types = {tensor.name: tensor.type for tensor in self.session.get_inputs()}
        self._ids = np.uint8 if types.get(names.PROMPT) == "tensor(uint8)" else np.int32
        self._position = 0

    def read(self, ids: Ids, state: Arrays) -> Arrays:
        """See `SequenceGraph`."""
        feed = self._inputs(state, np.ones(len(ids), np.float32)) | {
            names.PROMPT: ids.astype(self._ids),
            names.LENGTHS: np.full(len(ids), ids.shape[1] - 1),
            names.SCORED: np.array(1),
        }
        found = run(self.session, READ, feed)
        # Of each id and the next, given what was read before: the first is of the state alone.
        return found | {names.LOG_PROBABILITY: found[names.LOG_PROBABILITY][:, 1:]}

    def draw(self, state: Arrays, inverse_temperature: Floats, steps: int) -> Drawn:
        """See `GenerateGraph`."""
        uniform = uniform_numbers(len(inverse_temperature), steps, SEED, self._position)
        uniform[inverse_temperature == GREEDY] = GREEDY_UNIFORM
        feed = self._inputs(state, inverse_temperature) | {names.STEPS: np.array(steps)}
        after = run(self.session, DRAWN, feed)
        self._position += steps
        return uniform, after.pop(names.TOKENS).astype(np.int64), after

    def _inputs(self, state: Arrays, inverse_temperature: Floats) -> dict[str, Any]:
        """All inputs, of a run that reads nothing and draws nothing."""
        batch = len(inverse_temperature)
        return state | {
            names.PROMPT: np.zeros((batch, 0), dtype=self._ids),
            names.LENGTHS: np.zeros(batch, dtype=np.int64),
            names.SCORED: np.array(0),
            names.STEPS: np.array(0),
            names.SEED: np.full(batch, SEED, dtype=np.uint64),
            names.STREAM: np.arange(batch, dtype=np.uint64),
            names.POSITION: np.full(batch, self._position, dtype=np.uint64),
            names.INVERSE_TEMPERATURE: inverse_temperature,
            names.TOP_K: np.full(batch, np.iinfo(np.int64).max),
            names.TOP_P: np.full(batch, names.TOP_P_OFF, dtype=np.float32),
            names.MIN_P: np.zeros(batch, dtype=np.float32),
        }


def uniform_numbers(batch: int, steps: int, seed: int, position: int) -> Floats:
    """u of positions of streams, float32 [batch, steps], as sampling version 1 defines it."""
    words = np.empty((batch, steps), dtype=np.uint64)
    for stream, row in enumerate(words):
        philox = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64))
        row[:] = philox.random_raw(position + steps)[position:]
    upper = (words >> np.uint64(WORD_BITS)).astype(np.float32)
    return np.asarray((upper + np.float32(0.5)) * np.float32(2**-23))


def zero_state(batch: int, metadata: Metadata) -> Arrays:
    """The state that starts a text."""
    zeros = np.zeros((batch, metadata.layers, metadata.hidden), dtype=np.float32)
    return {H: zeros, C: zeros}


def carried(after: Arrays) -> Arrays:
    """The state that a run leaves, as the next one takes it."""
    return {H: after[H_NEXT], C: after[C_NEXT]}
