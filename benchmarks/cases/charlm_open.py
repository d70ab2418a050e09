"""Opening charlm's model as a case's settings ask for."""

from pathlib import Path

from charlm.benchmarks.harness.settings import PROMPT, CaseSettings
from charlm.data.system.cores import usable_cores
from charlm.infer.generator import Generator
from charlm.infer.model.open import Model, open_model


def threads_of(settings: CaseSettings) -> int:
    """How many threads charlm is given."""
    return settings.threads or usable_cores()


def model_of(settings: CaseSettings) -> Model:
    """The open step graph.

    Raises:
        CharlmError: see `open_model`.
    """
    threads = threads_of(settings)
    return open_model(Path(settings.model), settings.provider, threads, settings.precision)


def generator_of(settings: CaseSettings) -> Generator:
    """The library's own way in, which chooses its path by itself.

    Raises:
        CharlmError: see `Generator.open`.
    """
    threads = threads_of(settings)
    return Generator.open(settings.model, settings.provider, threads, settings.precision)


def prompt_of(model: Model) -> list[int]:
    """The notebook's seed text as token ids, as far as the model knows its characters."""
    metadata = model.metadata
    known = metadata.vocabulary.encode(metadata.normalisation(PROMPT), "drop").tolist()
    return [int(token) for token in known] or [0]
