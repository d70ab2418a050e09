"""Ctrl-C and SIGTERM as a wish to stop after the current step, so that nothing is lost."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class StopSignals:
    """While entered, notes SIGINT and SIGTERM instead of dying of them.

    The handlers that were there before come back at the end, and after the first signal, so
    that a second Ctrl-C ends the process at once.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is not threading.main_thread():
            return self  # signals are the main thread's
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.received = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
