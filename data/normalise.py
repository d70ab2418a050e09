"""How a text is brought into the form that a model is trained on.

The same rules are recorded with the model and applied again to every prompt.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from charlm.data.errors import SettingsError

CASES = ("keep", "lower")
NEWLINES = ("keep", "drop", "space")


@dataclass(frozen=True)
class Normalisation:
    """What is done to a text before it is cut into characters, in the order of the fields."""

    case: Literal["keep", "lower"] = "keep"  # keep: capitals are part of how a text looks
    nfc: bool = True  # one code point for é, however it was typed
    newlines: Literal["keep", "drop", "space"] = "keep"  # keep: paragraphs can be learnt

    def __post_init__(self) -> None:
        if self.case not in CASES or self.newlines not in NEWLINES:
            raise SettingsError(
                f"normalisation: case is one of {', '.join(CASES)} and newlines one of "
                f"{', '.join(NEWLINES)}, not {self.case!r} and {self.newlines!r}"
            )

    def __call__(self, text: str) -> str:
        """Normalise a whole text; line ends are LF already (see `corpus.read_text`)."""
        if self.case == "lower":
            text = text.lower()
        if self.nfc:
            text = unicodedata.normalize("NFC", text)
        if self.newlines != "keep":
            text = text.replace("\n", "" if self.newlines == "drop" else " ")
        return text

    def stream(self, chunks: Iterable[str]) -> Iterator[str]:
        """Normalise a text that arrives in chunks; joined, the result is that of the whole."""
        held: list[str] = []
        for chunk in chunks:
            cut = _last_boundary(chunk)
            if cut < 0:
                held.append(chunk)
                continue
            yield self("".join((*held, chunk[:cut])))
            held = [chunk[cut:]]
        yield self("".join(held))

    def as_dict(self) -> dict[str, Any]:
        """The JSON form, as stored in `config.json` and in a model's metadata."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Normalisation":
        """Read the JSON form; keys of later versions are an error, since they change the text.

        Raises:
            SettingsError: an unknown key or value.
        """
        try:
            return cls(**values)
        except TypeError as problem:
            raise SettingsError(f"normalisation: {problem}") from problem


NOTEBOOK = Normalisation(case="lower", nfc=False, newlines="drop")
"""What the notebook does: lower-case everything, delete newlines."""


def _last_boundary(text: str) -> int:
    """The last place in `text` before a space or newline, -1 if there is none.

    Nothing composes with a preceding space, and lower-casing a sigma looks no further than
    its word, so the two sides can be normalised apart.
    """
    return max(text.rfind(" "), text.rfind("\n"))
