"""The native graph as proofs run it: reading like a sequence graph, and drawing."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import ModelFileError
from charlm.data.system.extras import require_onnxruntime
from charlm.export import contract, contract_library
from charlm.export import contract_siblings as names
from charlm.export.contract import C_NEXT, H_NEXT, C, H
from charlm.export.proof.proving import Arrays, cpu_options
from charlm.export.proof.reference_sampling import Settings

WORD_BITS = 41  # of a random word that a uniform number leaves out


class Native:
    """A session of the native graph, on one thread of the CPU, or where it is fp16 on a GPU.

    Args:
        content: the serialised graph.
        where: the file's name, for messages.
        precision: `float32`, `int8` or `fp16`.

    Raises:
        ModelFileError: ONNX Runtime or the operator can't load it.
    """

    def __init__(self, content: bytes, where: str, precision: str = "float32") -> None:
        runtime, options = require_onnxruntime(), cpu_options()
        with contract.runtime_errors_as(ModelFileError, f"{where}: it can't be loaded"):
            device = "cuda" if precision == "fp16" else "cpu"
            contract_library.add_entries(options, precision, threads=1, device=device)
            self.session = runtime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
            types = {tensor.name: tensor.type for tensor in self.session.get_inputs()}
        self._ids = np.uint8 if types[names.PROMPT] == "tensor(uint8)" else np.int32

    def run(self, outputs: Sequence[str], feed: Mapping[str, Any]) -> Arrays:
        """Read as a graph of kind `sequence` does, with its inputs and outputs."""
        ids = np.concatenate((feed[names.TOKENS], feed[names.TARGETS][:, -1:]), axis=1)
        given = self._inputs(feed[H], feed[C], Settings.plain(len(ids))) | {
            names.PROMPT: ids.astype(self._ids),
            names.LENGTHS: np.full(len(ids), ids.shape[1] - 1),
            names.SCORED: np.array(True),
        }
        found = dict(zip(outputs, self.session.run(list(outputs), given), strict=True))
        if names.LOG_PROBABILITY in found:
            found[names.LOG_PROBABILITY] = found[names.LOG_PROBABILITY][:, 1:]
        return list(found.values())

    def draw(
        self, state: Arrays, settings: Settings, steps: int, seed: int, position: int
    ) -> tuple[npt.NDArray[np.int64], Arrays]:
        """Tokens, int64 [batch, steps], and h and c after them; stream s is in row s."""
        batch = len(state[0])
        given = self._inputs(state[0], state[1], settings) | {
            names.STEPS: np.array(steps),
            names.SEED: np.full(batch, seed, dtype=np.uint64),
            names.STREAM: np.arange(batch, dtype=np.uint64),
            names.POSITION: np.full(batch, position, dtype=np.uint64),
        }
        tokens, *after = self.session.run([names.TOKENS, H_NEXT, C_NEXT], given)
        return tokens.astype(np.int64), after

    def _inputs(self, h: Any, c: Any, settings: Settings) -> dict[str, Any]:
        """All inputs, of a run that reads nothing and draws nothing."""
        batch = len(h)
        nothing = np.zeros(batch, dtype=np.uint64)
        return {
            H: h,
            C: c,
            names.PROMPT: np.zeros((batch, 0), dtype=self._ids),
            names.LENGTHS: np.zeros(batch, dtype=np.int64),
            names.SCORED: np.array(False),
            names.STEPS: np.array(0),
            names.SEED: nothing,
            names.STREAM: nothing,
            names.POSITION: nothing,
            names.INVERSE_TEMPERATURE: settings.inverse_temperature,
            names.TOP_K: settings.top_k,
            names.TOP_P: settings.top_p,
            names.MIN_P: settings.min_p,
        }


def uniform_numbers(batch: int, steps: int, seed: int, position: int) -> npt.NDArray[np.float32]:
    """u of positions of streams, float32 [batch, steps], as sampling version 1 defines it."""
    words = np.empty((batch, steps), dtype=np.uint64)
    for stream, row in enumerate(words):
        philox = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64))
        row[:] = philox.random_raw(position + steps)[position:]
    upper = (words >> np.uint64(WORD_BITS)).astype(np.float32)
    return np.asarray((upper + np.float32(0.5)) * np.float32(2**-23))
