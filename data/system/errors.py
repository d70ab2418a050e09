"""The one exception tree of charlm.

```
CharlmError
├── SettingsError      an option's value, or two options that contradict each other
├── CorpusError        a text that can't be read or is too small to learn from
├── VocabularyError    a character that the model does not know
├── StateError        a saved state that is damaged, or of another model
├── RequestError       a line of a file of prompts that asks for no text
├── FetchError         a download that failed or has the wrong hash
├── RunError           a run folder that is missing, damaged, or holds something else
├── TrainingError      training that can't go on (a diverging loss)
├── ExportError        a graph that is not equal to the Torch model
├── ModelFileError     a model file that is not a charlm model, or is damaged
├── ProviderError      an execution provider that can't run here, and why
└── MissingExtraError  an optional dependency that is not installed
```
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
