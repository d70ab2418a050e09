"""A generate graph bound once to buffers that stay on a device: one call draws a block."""

import itertools
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.data.errors import ModelFileError, SettingsError
from charlm.data.extras import require_onnxruntime
from charlm.export.contract import C_NEXT, H_NEXT, C, H, Metadata, runtime_errors_as
from charlm.export.contract_siblings import (
    BYTE_VOCABULARY,
    INVERSE_TEMPERATURE,
    MIN_P,
    TOKENS,
    TOP_K,
    TOP_P,
    UNIFORM,
    Kind,
)

Array = npt.NDArray[np.float32]
Tokens = npt.NDArray[Any]
GRAPH_ID = "gpu_graph_id"  # a run option of ONNX Runtime
UNUSED = np.float32(0.5)  # the number for rows and steps that nobody asked for
# Each captured graph has buffers of its own, so it must have a number of its own in its session.
_graph_ids = itertools.count(1)


class CudaBlock:
    """So many rows of streams whose state stays on the device from run to run.

    h and c are input and output in the same buffers, which the graph allows (see
    `export/unrolled_graph.py`). Where runs are captured, ONNX Runtime works the graph through
    several times in the first call of each thread, and the state would move on each time: that
    call is made beforehand, and the state put back.

    Args:
        session: of the graph, on the device.
        kind: of the graph, of the family `generate`.
        metadata: of the model.
        rows: streams that it holds.
        steps: characters of each that a run draws.
        device: `"cuda"`.
        captured: runs are captured as a CUDA graph; the session must have been started for it.

    Raises:
        SettingsError: the device can't hold so many.
    """

    def __init__(
        self,
        session: Any,
        kind: Kind,
        metadata: Metadata,
        *,
        rows: int,
        steps: int,
        device: str = "cuda",
        captured: bool = True,
    ) -> None:
        self.kind, self.rows, self.steps = kind, rows, steps
        self._session, self._device = session, device
        size = len(metadata.vocabulary)
        state = np.zeros((rows, metadata.layers, metadata.hidden), dtype=np.float32)
        settings: dict[str, npt.NDArray[Any]] = {
            INVERSE_TEMPERATURE: np.ones(rows, dtype=np.float32)
        }
        if kind.filters:
            settings[TOP_K] = np.full(rows, size)
            settings[TOP_P] = np.full(rows, 2, dtype=np.float32)
            settings[MIN_P] = np.zeros(rows, dtype=np.float32)
        self._plain = settings
        self._numbers = np.full((rows, steps), UNUSED)
        self.token_type = np.dtype(np.uint8 if size <= BYTE_VOCABULARY else np.int32)
        doing = f"{rows} streams side by side can't be held (give a smaller --width)"
        with runtime_errors_as(SettingsError, doing):
            self._inputs = {
                name: self._upload(array)
                for name, array in ({H: state, C: state, UNIFORM: self._numbers} | settings).items()
            }
            self._tokens = self._upload(np.zeros((rows, steps), dtype=self.token_type))
        self._binding = self._bind()
        self._options = self._run_options() if captured else None
        self._thread = threading.local()

    def state(self) -> tuple[Array, Array]:
        """Copies of (h, c) on the host, each float32 [rows, layers, hidden]."""
        return np.array(self._inputs[H].numpy()), np.array(self._inputs[C].numpy())

    def set_state(self, h: Array, c: Array) -> None:
        """Put the first rows into a state, each float32 [up to rows, layers, hidden]."""
        for name, part in ((H, h), (C, c)):
            whole = np.zeros((self.rows, *part.shape[1:]), dtype=np.float32)
            whole[: len(part)] = part
            self._inputs[name].update_inplace(whole)

    def set_settings(self, settings: Mapping[str, npt.NDArray[Any]]) -> None:
        """Settings of the first rows by their names in the contract, each [up to rows]."""
        for name, plain in self._plain.items():
            whole = plain.copy()
            whole[: len(settings[name])] = settings[name]
            self._inputs[name].update_inplace(whole)

    def draw(self, uniform: Array) -> Tokens:
        """The next characters of the first rows, [up to rows, up to steps]; every row moves on.

        Args:
            uniform: float32 [up to rows, up to steps]. Where fewer than all steps are given, the
                state afterwards is that after all of them: of no use to streams that go on.

        Raises:
            ModelFileError: the graph can't be run.
        """
        self._prepare()
        rows, steps = uniform.shape
        self._numbers[:rows, :steps] = uniform
        self._inputs[UNIFORM].update_inplace(self._numbers)
        self._run()
        drawn: Tokens = np.array(self._tokens.numpy())[:rows, :steps]
        return drawn

    def _prepare(self) -> None:
        """Have the graph captured, where this thread's runs have not been."""
        if self._options is None or getattr(self._thread, "captured", False):
            return
        h, c = self.state()
        self._run()
        self.set_state(h, c)
        self._thread.captured = True

    def _run(self) -> None:
        with runtime_errors_as(ModelFileError, "ONNX Runtime can't run the model"):
            self._session._sess.run_with_iobinding(self._binding._iobinding, self._options)

    def _upload(self, array: npt.NDArray[Any]) -> Any:
        # A copy: on the CPU an OrtValue shares the array's memory.
        return require_onnxruntime().OrtValue.ortvalue_from_numpy(array.copy(), self._device, 0)

    def _bind(self) -> Any:
        binding = self._session.io_binding()
        for name, held in self._inputs.items():
            binding.bind_ortvalue_input(name, held)
        binding.bind_ortvalue_output(H_NEXT, self._inputs[H])
        binding.bind_ortvalue_output(C_NEXT, self._inputs[C])
        binding.bind_ortvalue_output(TOKENS, self._tokens)
        return binding

    def _run_options(self) -> Any:
        options = require_onnxruntime().RunOptions()
        options.add_run_config_entry(GRAPH_ID, str(next(_graph_ids)))
        return options
