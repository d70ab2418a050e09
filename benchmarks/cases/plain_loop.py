"""A loop without any runtime, in C++ and with random weights: what charlm's operator is held to."""

from charlm.benchmarks.harness.probe import open_probe
from charlm.benchmarks.harness.settings import CaseSettings, Run


def prepare(settings: CaseSettings) -> Run:
    """Open the probe; a unit is one character."""
    return open_probe(settings).draw(settings.precision)
