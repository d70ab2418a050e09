"""`probe.cpp`, compiled for this core and this model: the machine's limits, and a plain loop.

One stream reads each weight for each character, so the read bandwidth of the cache that holds them
is its limit. Many streams share what is read, so what a core can multiply and add is theirs. The
loop is one in C++ without any runtime, with random weights: what charlm's operator is held to.
"""

import os
import shutil
import subprocess
from ctypes import CDLL, c_double, c_int, c_long
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
    """Units: a character's weights, read once from their beginning."""
    library = _open(settings)
    return lambda count: library.probe_read(c_long(count), c_int(0))


def read_back(settings: CaseSettings) -> Run:
    """Units: a character's weights, read once, now from one end and now from the other."""
    library = _open(settings)
    return lambda count: library.probe_read(c_long(count), c_int(1))


def multiply_add(settings: CaseSettings) -> Run:
    """Units: `OPERATIONS` products and sums in registers, to the nearest turn of the loop."""
    multiply = _open(settings).probe_multiply
    multiply.restype = c_double
    each_turn = float(multiply(c_long(1)))
    return lambda count: multiply(c_long(max(1, round(count * OPERATIONS / each_turn))))


def loop(settings: CaseSettings) -> Run:
    """Units: characters that the plain loop draws.

    Raises:
        CaseFailedError: this core has no products of bytes, or the model several layers.
    """
    library = _open(settings)
    if read_info(Path(settings.artifacts)).layers != 1:
        raise CaseFailedError("the loop without a runtime is written for one layer")
    if settings.precision == "int8" and not library.probe_has_int8():
        raise CaseFailedError("the loop's int8 is written for VNNI, which this core has not")
    draw = getattr(library, f"probe_{settings.precision}")
    return lambda count: draw(c_long(count))


def _open(settings: CaseSettings) -> CDLL:
    """The probe that `artifacts` has built, its weights filled.

    Raises:
        CaseFailedError: it could not be built; the message says why.
    """
    library = CDLL(str(settings.artifact(PROBE)))
    library.probe_begin()
    return library


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
