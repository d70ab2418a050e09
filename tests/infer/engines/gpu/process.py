"""A process with a GPU, real or emulated, and what it is asked for there; see `Gpu`."""

import contextlib
import ctypes
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from charlm.infer.batch.results import Result
from charlm.infer.engines import pinned
from charlm.infer.engines.planning import Work, open_text_reader
from charlm.infer.generator import Generator
from charlm.infer.model.open import open_model
from charlm.infer.request import Request
from charlm.infer.scoring.score import Scorer, zero_states
from charlm.infer.scoring.segments import SegmentScorer

Feed = dict[str, npt.NDArray[Any]]
Variables = dict[str, str]


def device_and_note(path: Path, provider: str) -> tuple[str, str | None]:
    model = open_model(path, provider)
    return model.device, model.note


def run(path: Path, provider: str, precision: str, *feeds: Feed) -> Any:
    """The outputs of runs of one session, or why there are none."""
    session = open_model(path, provider, precision=precision).native(precision, 1)
    outputs = [each.name for each in session.get_outputs()]
    found: list[Any] = []
    for feed in feeds:
        try:
            found.append(dict(zip(outputs, session.run(outputs, feed), strict=True)))
        except Exception as problem:
            found.append(str(problem))
    return found


def texts(path: Path, provider: str, requests: list[Request], width: int) -> list[str]:
    """Of the requests in a batch, then of the first by itself."""
    generator = Generator.open(path, provider)
    outcomes = generator.batch(requests, width=width, work=Work(len(requests)))
    found = [outcome.text if isinstance(outcome, Result) else str(outcome) for outcome in outcomes]
    first = requests[0]
    return [*found, generator.text(first.prompt, length=first.length, seed=first.seed)]


def bits(path: Path, provider: str, precision: str, text: str) -> float:
    scorer = Scorer(open_model(path, provider, precision=precision), precision=precision)
    return scorer.score([text]).bits_per_character


def bits_in_segments(path: Path, provider: str, precision: str, text: str) -> float:
    model = open_model(path, provider, precision=precision)
    scorer = SegmentScorer(model, precision=precision, segments=40, warm_up=2, shortest=4)
    return scorer.score([text]).bits_per_character


def predictions(path: Path, provider: str, text: str) -> Any:
    return list(Generator.open(path, provider).predictions(text))


def pinned_bytes() -> int:
    """How many the emulated driver holds; a real one does not say."""
    if "CHARLM_LIBCUDA" not in os.environ:
        return 0
    count = ctypes.CDLL(os.environ["CHARLM_LIBCUDA"]).emulated_pinned
    count.restype = ctypes.c_long
    return int(count())


def while_pinned(function: str, *arguments: Any) -> tuple[Any, int]:
    """What a function of this file gives where the smallest array is pinned, and the bytes held."""
    before, pinned.SMALLEST = pinned.SMALLEST, 1
    held, array = [0], pinned.PinnedMemory.array

    def counted(*given: Any) -> Any:
        made = array(*given)
        held.append(pinned_bytes())
        return made

    pinned.PinnedMemory.array = counted  # type: ignore[method-assign]
    try:
        return globals()[function](*arguments), max(held)
    finally:
        pinned.PinnedMemory.array, pinned.SMALLEST = array, before  # type: ignore[method-assign]


def life_of_pinned_memory(size: int) -> dict[str, int]:
    """The bytes held, in units of `size`, in the life of some arrays."""
    memory, found = pinned.PinnedMemory(), {}

    def see(when: str) -> None:
        found[when] = pinned_bytes() // size

    rows = memory.array((size // 8, 2), np.float32)
    rows[:] = 7
    row, place = rows[-1], rows.ctypes.data
    see("an array")
    del rows
    other = memory.array((size,), np.uint8)
    other[:] = 0
    see("another, while a view of the first is left")
    assert row.tolist() == [7, 7]
    del row
    again = memory.array((size - 8,), np.uint8)
    assert again.ctypes.data == place
    see("a third, once none is left")
    large = memory.array((4 * size,), np.uint8)
    see("a larger one")
    del large, other
    large = memory.array((4 * size,), np.uint8)
    see("as large a one again")
    larger = memory.array((5 * size,), np.uint8)
    see("the largest, in place of one that is free")
    small = memory.array((pinned.SMALLEST - 1,), np.uint8)
    empty = memory.array((0, size), np.uint8)
    assert (small.size, empty.size) == (pinned.SMALLEST - 1, 0)
    see("small ones, in any memory")
    del memory, larger, large
    see("an array that outlives its memory")
    del again
    see("nothing")
    return found


def predict(path: Path, device: str) -> Any:
    """All log-probabilities in a text, by what reads texts on a device."""
    model = open_model(path, device)
    ids, zeros = np.zeros((1, 3), dtype=np.uint8), zero_states(model.metadata, 1)
    return open_text_reader(model).predict(ids, zeros, zeros)  # type: ignore[attr-defined]


class Gpu:
    """A process that calls functions of this file: a process looks for a driver once.

    What goes wrong on a real GPU stays with its process, and a kernel may hang: another begins.
    """

    def __init__(self, real: bool, variables: Variables) -> None:
        self.real, self.variables = real, variables
        self._limit = 20 if real else 300  # seconds for a call
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(
        self, function: Callable[..., Any], *arguments: Any, variables: Variables | None = None
    ) -> Any:
        """What the function gives or raises there, with these variables for this call."""
        self._process = self._process or subprocess.Popen(
            [sys.executable, __file__],
            env=os.environ | self.variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        clock = threading.Timer(self._limit, self._process.kill)
        clock.start()
        try:
            pickle.dump((function.__name__, arguments, variables or {}), self._process.stdin)
            self._process.stdin.flush()
            found = pickle.load(self._process.stdout)
        except (EOFError, OSError):
            pytest.fail(f"it ended with {self.close()}; -9: no answer within {self._limit} s")
        finally:
            clock.cancel()
        failed = isinstance(found, Exception)
        if self.real and (failed or (function is run and any(isinstance(e, str) for e in found))):
            self.close()
        if failed:
            raise found
        return found

    def close(self) -> int:
        """End the process; its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.communicate()
        return process.returncode


def serve() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(EOFError):
        while True:
            name, arguments, variables = pickle.load(sys.stdin.buffer)
            before = dict(os.environ)
            os.environ.update(variables)
            try:
                found = globals()[name](*arguments)
            except Exception as problem:
                found = problem
            for variable in variables:
                os.environ.pop(variable)
            os.environ.update(before)
            pickle.dump(found, answers)
            answers.flush()


if __name__ == "__main__":
    serve()
