"""The further graphs of a model that stand beside its file, each opened when it is first wanted."""

import threading
from pathlib import Path
from typing import Any

from charlm.data.system.errors import ModelFileError
from charlm.data.system.extras import require_onnxruntime
from charlm.export import contract
from charlm.export.contract import KINDS, Kind, Metadata, check_sibling, sibling_path
from charlm.infer.model.runtime import session_on, session_options


class Siblings:
    """Sessions of a model's siblings.

    Args:
        model: the model file that they stand beside; None: there are none.
        metadata: of the model.
    """

    def __init__(self, model: Path | None = None, metadata: Metadata | None = None) -> None:
        self._model, self._metadata = model, metadata
        self._open: dict[tuple[str, int], Any] = {}
        self._lock = threading.Lock()

    def __contains__(self, kind: Kind) -> bool:
        return self._model is not None and sibling_path(self._model, kind).is_file()

    def size(self, kind: Kind) -> int:
        """The bytes of a kind's file; 0 where there is none."""
        return sibling_path(self._model, kind).stat().st_size if kind in self and self._model else 0

    def kinds(self) -> list[Kind]:
        """The kinds that are there."""
        return [kind for kind in KINDS.values() if kind in self]

    def session(self, kind: Kind, threads: int = 1) -> Any:
        """The session of a kind, of so many threads; the same one again the next time.

        Raises:
            ModelFileError: there is no such file, or it is damaged, of other weights, or not what
                its name says.
        """
        key = (kind.name, threads)
        with self._lock:  # threads that draw side by side want one session, not one each
            if key not in self._open:
                self._open[key] = self._start(kind, threads)
            return self._open[key]

    def _start(self, kind: Kind, threads: int) -> Any:
        from charlm.export.contract_ops import check_operators

        if self._model is None or self._metadata is None:
            raise ModelFileError(f"a model without a file has no {kind.name} graph")
        path = sibling_path(self._model, kind)
        content, where = contract.read_model_bytes(path), str(path)
        check_operators(content, where)
        runtime = require_onnxruntime()
        options = session_options(runtime, threads)
        with contract.runtime_errors_as(ModelFileError, f"{where}: ONNX Runtime can't load it"):
            session = session_on(runtime, content, options)
        check_sibling(session, kind, self._metadata, where)
        return session
