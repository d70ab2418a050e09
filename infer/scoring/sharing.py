"""One text's rows shared out over threads, which give up where the score is given up."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from charlm.infer.engines.base import Array, Read, TextReader, Tokens

Share = Callable[..., Iterator[Any]]


class _Stoppable:
    """A `TextReader` that reads until it is told to stop."""

    def __init__(self, reader: TextReader, stopped: threading.Event) -> None:
        self._reader, self._stopped = reader, stopped

    def run(self, ids: Tokens, h: Array, c: Array) -> Read:
        """See `TextReader`.

        Raises:
            CancelledError: it was told.
        """
        if self._stopped.is_set():
            raise CancelledError
        return self._reader.run(ids, h, c)


@contextmanager
def side_by_side(readers: Sequence[TextReader]) -> Iterator[Share]:
    """What maps a function over the readers and lists beside them, each reader in its own thread.

    Where the block fails, as by Ctrl-C, their work ends with the run that they are in.
    """
    stopped = threading.Event()
    with ThreadPoolExecutor(len(readers)) as pool:
        try:
            yield lambda function, *lists: pool.map(
                function, [_Stoppable(each, stopped) for each in readers], *lists
            )
        except BaseException:
            stopped.set()
            raise
