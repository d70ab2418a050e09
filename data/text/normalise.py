"""How a text is brought into the form that a model is trained on.

The same rules are recorded with the model and applied again to every prompt.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from charlm.data.system.errors import SettingsError

CASES = ("keep", "lower")
NEWLINES = ("keep", "drop", "space")


@dataclass(frozen=True)
class Normalisation:
    """What is done to a text before it is cut into characters.

    Newlines come first, then case, then NFC: so a text that was normalised stays as it is when
    it is normalised again, even where a newline stood between a letter and its accent.
    """

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
        text = self._replace_newlines(text)
        if is_latin(text):  # ten times as fast; and such text is composed already
            if self.case == "lower":
                text = text.encode("latin-1").translate(_LOWER).decode("latin-1")
            return text
        if self.case == "lower":
            text = text.lower()
        return unicodedata.normalize("NFC", text) if self.nfc else text

    def stream(self, chunks: Iterable[str]) -> Iterator[str]:
        """Normalise a text that arrives in chunks; joined, the result is that of the whole."""
        return map(self, self.parts(chunks))

    def parts(self, chunks: Iterable[str]) -> Iterator[str]:
        """A text that arrives in chunks, its newlines done, in parts that are normalised apart.

        What follows a chunk's last boundary waits for the next chunk.
        """
        held: list[str] = []
        for chunk in map(self._replace_newlines, chunks):
            cut = _last_boundary(chunk)
            if cut is None:
                held.append(chunk)
            else:
                yield "".join((*held, chunk[:cut]))
                held = [chunk[cut:]]
        yield "".join(held)

    @property
    def latin(self) -> bytes:
        """What becomes of each character of a part that is all of Latin-1."""
        return _LOWER if self.case == "lower" else SAME

    def _replace_newlines(self, text: str) -> str:
        if self.newlines == "keep":
            return text
        return text.replace("\n", "" if self.newlines == "drop" else " ")

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

    def but(self, **said: str | bool | None) -> "Normalisation":
        """The same but for what was said: what is not None."""
        chosen = {name: value for name, value in said.items() if value is not None}
        return self.from_dict(self.as_dict() | chosen)


SAME = bytes(range(256))
NOTEBOOK = Normalisation(case="lower", nfc=False, newlines="drop")
"""What the notebook does: lower-case everything, delete newlines."""


def is_latin(text: str) -> bool:
    """Whether all its characters are of Latin-1, where a character is a byte."""
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


_LOWER = bytes(map(ord, bytes(range(256)).decode("latin-1").lower()))
_PLAIN = r"[0-9A-Za-z\u3400-\u9fff]"
_BOUNDARY = re.compile(rf"[ \n]|(?<={_PLAIN}){_PLAIN}")
"""Where the two sides of a text can be normalised apart: before a space or newline, or between
two plain letters, digits or ideographs, for scripts and data without spaces. None of them
composes with what stands before it, and lower-casing a capital sigma, which depends on the
letters around it (final or not), looks no further than the next of them."""


def _last_boundary(text: str) -> int | None:
    """The last place in `text` where it can be cut, if there is one."""
    places = range(len(text) - 1, -1, -1)
    return next((place for place in places if _BOUNDARY.match(text, place)), None)
