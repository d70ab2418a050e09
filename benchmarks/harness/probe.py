"""`probe.cpp`, compiled for this core and this model: limits, and a loop without any runtime."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from charlm.benchmarks.artifacts import PROBE, ModelInfo, read_info
from charlm.benchmarks.harness.settings import OPERATIONS, CaseFailedError, CaseSettings

SOURCE = Path(__file__).parent / "probe.cpp"
COMPILERS = ("g++", "clang++", "c++")
FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-shared",
    "-fPIC", "-Wno-psabi",
)  # fmt: skip
WIDE = "-mprefer-vector-width=512"  # compilers otherwise halve AVX-512's vectors


class Probe:
    """A compiled probe.

    Args:
        library: see `build`.
        layers: of the model that it was built for.
    """

    def __init__(self, library: Path, layers: int) -> None:
        self._layers = layers
        self._library = ctypes.CDLL(str(library))
        self._library.probe_multiply.restype = ctypes.c_double
        self.has_int8 = bool(self._library.probe_begin())
        self._per_turn = float(self._library.probe_multiply(ctypes.c_long(1)))

    def multiply(self, count: int) -> None:
        """Multiply and add `count * OPERATIONS` times, to the nearest turn of the loop."""
        turns = max(1, round(count * OPERATIONS / self._per_turn))
        self._library.probe_multiply(ctypes.c_long(turns))

    def read(self, count: int, *, back: bool = False) -> None:
        """Read a character's weights so many times, from the beginning or back and forth."""
        self._library.probe_read(ctypes.c_long(count), ctypes.c_int(back))

    def draw(self, precision: str) -> Callable[[int], None]:
        """What draws so many characters in a plain loop.

        Raises:
            CaseFailedError: this core has no products of bytes, or the model several layers.
        """
        if self._layers != 1:
            raise CaseFailedError("the loop without a runtime is written for one layer")
        if precision == "int8" and not self.has_int8:
            raise CaseFailedError("the loop's int8 is written for VNNI, which this core has not")
        loop = getattr(self._library, f"probe_{precision}")
        return lambda count: loop(ctypes.c_long(count))


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


def open_probe(settings: CaseSettings) -> Probe:
    """The probe that `artifacts` has built.

    Raises:
        CaseFailedError: it could not be built; the message says why.
    """
    library = settings.artifact(PROBE)
    return Probe(library, read_info(library.parent).layers)
