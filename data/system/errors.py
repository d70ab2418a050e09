"""The one exception tree of charlm: `CharlmError`, and one kind for each class below it.

Each message is one line: what, where, and how to fix it. A setting has its name in Python, between
backticks: `top_k`. A command says `as_options` of the message.
"""

import re

SETTING = re.compile(r"`([a-z][a-z0-9_]*)`")


def as_options(message: str) -> str:
    """A message with settings as a command spells them: `top_k` as --top-k."""
    return SETTING.sub(lambda found: "--" + found[1].replace("_", "-"), message)


class CharlmError(Exception):
    """Root of every error that a user of charlm can cause and mend."""


class SettingsError(CharlmError):
    """An option's value is out of range, or two options contradict each other."""


class CorpusError(CharlmError):
    """A text can't be read, is not text, or is too small to learn from."""


class VocabularyError(CharlmError):
    """A character is outside the vocabulary, or a vocabulary is malformed."""


class StateError(CharlmError):
    """A saved state is damaged, or was made with other weights."""


class RequestError(CharlmError):
    """A line of a file of prompts does not say which text is wanted."""


class FetchError(CharlmError):
    """A download failed, or what arrived is not what was asked for."""


class RunError(CharlmError):
    """A run folder is missing, damaged, or holds a run with other settings."""


class TrainingError(CharlmError):
    """Training can't go on, for example because the loss is no longer finite."""


class ExportError(CharlmError):
    """An exported graph failed its proof against the Torch model."""


class ModelFileError(CharlmError):
    """A model file is missing, damaged, too large, or not a charlm model."""


class ProviderError(CharlmError):
    """An execution provider can't run on this machine; the message says why."""


class MissingExtraError(CharlmError):
    """An optional dependency is not installed; the message has the line to run."""
