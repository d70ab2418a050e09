"""Times all prefixes of a step and the machine's peak in turns, in one process."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from charlm.benchmarks.training import parts
from charlm.benchmarks.training.parts import PREFIXES, Size

REPETITIONS = 3  # of each between the others' turns
PEAK = "peak"


@dataclass(frozen=True)
class StepTime:
    """Of one size and number of threads.

    Attributes:
        milliseconds: median time of each part of the step.
        spread: of the whole step, the quartiles' distance as a share of the median.
        peak: operations a second of a large product, in the same turns.
    """

    size: Size
    threads: int
    milliseconds: dict[str, float]
    spread: float
    peak: float

    def step(self) -> float:
        """Milliseconds of the whole step."""
        return sum(self.milliseconds.values())

    def of_peak(self) -> float:
        """The rate of all products of a step, the optimiser's included, as a share of the peak."""
        return self._share(self.size.model_products() + self.size.muon_products())

    def of_peak_by_the_model(self) -> float:
        """The same of the model's products alone."""
        return self._share(self.size.model_products())

    def _share(self, operations: int) -> float:
        return operations / (self.step() / 1e3) / self.peak


def measure(sizes: Sequence[Size], threads: Sequence[int], rounds: int) -> list[StepTime]:
    """Time every size at every number of threads."""
    cases = {size: parts.prefixes(size) for size in sizes}
    product = parts.peak()
    taken: dict[tuple[Size, int], dict[str, list[float]]] = {}
    for turn in range(rounds + 1):  # the first warms up
        for count in threads:
            torch.set_num_threads(count)
            for size, runs in cases.items():
                of = taken.setdefault((size, count), {})
                for name, run in {PEAK: product, **runs}.items():
                    seconds = _time(run)
                    if turn:
                        of.setdefault(name, []).append(seconds)
    return [_step_time(size, count, of) for (size, count), of in taken.items()]


def _time(run: Callable[[], object]) -> float:
    run()  # what the one before left in the caches is not this one's
    began = time.perf_counter()
    for _ in range(REPETITIONS):
        run()
    return (time.perf_counter() - began) / REPETITIONS


def _step_time(size: Size, threads: int, taken: dict[str, list[float]]) -> StepTime:
    medians = [1e3 * median(taken[name]) for name in PREFIXES]
    of_parts = [later - earlier for earlier, later in zip([0.0, *medians], medians, strict=False)]
    whole = sorted(taken[PREFIXES[-1]])
    quarter = len(whole) // 4
    return StepTime(
        size,
        threads,
        dict(zip(PREFIXES, of_parts, strict=True)),
        (whole[-1 - quarter] - whole[quarter]) / median(whole),
        2 * parts.SIDE**3 / median(taken[PEAK]),
    )
