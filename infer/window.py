"""What a window is: each character follows from the last N alone, read from a zero state."""

from typing import Any

from charlm.data import MAX_WINDOW
from charlm.data.system.errors import SettingsError
from charlm.export.contract import Metadata


def check_window(window: int | None) -> None:
    """A window is a number of characters; None carries the state from the text's beginning.

    Raises:
        SettingsError: out of range.
    """
    if window is not None and not 1 <= window <= MAX_WINDOW:
        raise SettingsError(
            f"--window is from 1 to {MAX_WINDOW} characters, not {window}; "
            "leave it out to carry the state from the text's beginning"
        )


def trained_window(metadata: Metadata) -> int | None:
    """The window that a model was trained on; None where its state was carried, or not known.

    The summary in a model file is for people: whatever it holds, this is no error.
    """
    training: Any = metadata.summary.get("training")
    if not isinstance(training, dict) or training.get("recipe") != "notebook":
        return None
    length = training.get("seq_len")
    return length if type(length) is int and 1 <= length <= MAX_WINDOW else None


def hint(metadata: Metadata) -> str | None:
    """What to tell whoever carries the state of a model that was trained on windows."""
    window = trained_window(metadata)
    if window is None:
        return None
    return (
        f"this model was trained on windows of {window} characters from a zero state: "
        f"--window {window} draws from that distribution, carrying the state from another"
    )
