"""`probe.cpp`, compiled for this core and this model: the machine's limits, and a plain loop.

One stream reads each weight for each character, so the read bandwidth of the cache that holds them
is its limit. Many streams share what is read, so what a core can multiply and add is theirs. The
loop is one in C++ without any runtime, with random weights: what charlm's operator is held to.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from charlm.benchmarks.harness.artifacts import ModelInfo, read_info
from charlm.benchmarks.harness.settings import (
    OPERATIONS,
    PROBE,
    CaseFailedError,
    CaseSettings,
    Run,
)

SOURCE = Path(__file__).parent / "probe.cpp"
COMPILERS = ("g++", "clang++", "c++")
FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-shared",
    "-fPIC", "-Wno-psabi",
)  # fmt: skip
WIDE = "-mprefer-vector-width=512"  # compilers otherwise halve AVX-512's vectors


def read(settings: CaseSettings) -> Run:
    """Units: a character's weights, read once."""
    return partial(Probe(settings).read, back=False)


def read_back(settings: CaseSettings) -> Run:
    """Units: a character's weights, read once, now from one end and now from the other."""
    return partial(Probe(settings).read, back=True)


def multiply_add(settings: CaseSettings) -> Run:
    """Units: `OPERATIONS` products and sums in registers."""
    return Probe(settings).multiply


def loop(settings: CaseSettings) -> Run:
    """Units: characters that the plain loop draws.

    Raises:
        CaseFailedError: this core has no products of bytes, or the model several layers.
    """
    return Probe(settings).loop(settings.precision)


class Probe:
    """The probe that `artifacts` has built.

    Raises:
        CaseFailedError: it could not be built; the message says why.
    """

    def __init__(self, settings: CaseSettings) -> None:
        library = settings.artifact(PROBE)
        self._layers = read_info(library.parent).layers
        self._library = ctypes.CDLL(str(library))
        self._library.probe_multiply.restype = ctypes.c_double
        self._has_int8 = bool(self._library.probe_begin())
        self._per_turn = float(self._library.probe_multiply(ctypes.c_long(1)))

    def multiply(self, count: int) -> None:
        """Multiply and add `count * OPERATIONS` times, to the nearest turn of the loop."""
        turns = max(1, round(count * OPERATIONS / self._per_turn))
        self._library.probe_multiply(ctypes.c_long(turns))

    def read(self, count: int, *, back: bool) -> None:
        """Read a character's weights so many times, from the beginning or back and forth."""
        self._library.probe_read(ctypes.c_long(count), ctypes.c_int(back))

    def loop(self, precision: str) -> Callable[[int], None]:
        """What draws so many characters in a plain loop."""
        if self._layers != 1:
            raise CaseFailedError("the loop without a runtime is written for one layer")
        if precision == "int8" and not self._has_int8:
            raise CaseFailedError("the loop's int8 is written for VNNI, which this core has not")
        draw = getattr(self._library, f"probe_{precision}")
        return lambda count: draw(ctypes.c_long(count))


def build(model: ModelInfo, library: Path) -> None:
    """Compile the probe.

    Raises:
        CaseFailedError: no compiler, or one that fails.
    """
    wanted = os.environ.get("CXX")
    found = wanted or next((name for name in COMPILERS if shutil.which(name)), None)
    if found is None:
        raise CaseFailedError("no C++ compiler was found: install g++ or clang++")
    weights = sum(rows * columns for rows, columns in model.products)
    sizes = [
        f"-DHIDDEN={model.hidden}", f"-DVOCABULARY={model.vocabulary}", f"-DWEIGHTS={weights}"
    ]  # fmt: skip
    for flags in ([*FLAGS, WIDE], FLAGS):
        command = [found, *flags, *sizes, str(SOURCE), "-o", str(library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
    reason = done.stderr.strip().partition("\n")[0]
    raise CaseFailedError(f"{found} can't compile the probe: {reason}")
