"""The machine's own limits: how fast the arithmetic of a character could be, and nothing else.

One stream reads each weight for each character, so the read bandwidth of the cache that holds them
is its limit. Many streams share what is read, so what a core can multiply and add is theirs. Both
are measured by `probe.cpp`, without any runtime. Targets for `worker`, timed between the cases.
"""

from functools import partial

from charlm.benchmarks.harness.probe import open_probe
from charlm.benchmarks.harness.settings import CaseSettings, Run


def weights_read(settings: CaseSettings) -> Run:
    """Units: a character's weights, read once."""
    return open_probe(settings).read


def weights_back_and_forth(settings: CaseSettings) -> Run:
    """Units: a character's weights, read once, now from one end and now from the other."""
    return partial(open_probe(settings).read, back=True)


def multiply_add(settings: CaseSettings) -> Run:
    """Units: `work.OPERATIONS` products and sums in registers."""
    return open_probe(settings).multiply
