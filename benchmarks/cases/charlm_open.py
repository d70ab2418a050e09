"""Opening charlm as a case's settings ask for."""

from charlm.benchmarks import pinning
from charlm.benchmarks.settings import CaseFailedError, CaseSettings
from charlm.infer.generator import Generator


def open_generator(settings: CaseSettings) -> Generator:
    """The generator of the settings' model, provider, threads, path and precision.

    Raises:
        CaseFailedError: this charlm has no such path.
        CharlmError: see `Generator.open`.
    """
    if (settings.path, settings.precision) != ("step", "float32"):
        raise CaseFailedError(f"charlm has no {settings.path} path in {settings.precision}")
    threads = settings.threads or pinning.available_cores()
    return Generator.open(settings.model, settings.provider, threads)
