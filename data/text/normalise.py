"""How a text is brought into the form that a model is trained on.

The same rules are recorded with the model and applied again to every prompt.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from charlm.data.system.errors import SettingsError

CASES = ("keep", "lower")
NEWLINES = ("keep", "drop", "space")


class Latin(NamedTuple):
    """What becomes of the characters of a text of Latin-1, as `bytes.translate` takes it."""

    table: bytes  # of each that stays
    removed: bytes = b""  # those that don't


AS_IT_IS = Latin(bytes(range(256)))


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

    @property
    def described(self) -> str:
        """What becomes of how a text looks; empty where it stays."""
        said = {"lower": "lower case", "drop": "line ends dropped", "space": "line ends as spaces"}
        return ", ".join(said[each] for each in (self.case, self.newlines) if each in said)

    def __call__(self, text: str) -> str:
        """Normalise a whole text; line ends are LF already (see `with_lf`, `corpus.read_text`)."""
        if is_latin(text):  # ten times as fast; and such text is composed already
            if self.latin == AS_IT_IS:
                return text
            return text.encode("latin-1").translate(*self.latin).decode("latin-1")
        if self.newlines != "keep":
            text = text.replace("\n", "" if self.newlines == "drop" else " ")
        if self.case == "lower":
            text = text.lower()
        return unicodedata.normalize("NFC", text) if self.nfc else text

    def stream(self, chunks: Iterable[str]) -> Iterator[str]:
        """Normalise a text that arrives in chunks; joined, the result is that of the whole."""
        return map(self, self.parts(chunks))

    def parts(self, chunks: Iterable[str]) -> Iterator[str]:
        """A text that arrives in chunks, in parts that can be normalised apart.

        What follows a chunk's last boundary waits for the next chunk.
        """
        held: list[str] = []
        boundary = _BOUNDARIES[self.newlines]
        for chunk in chunks:
            places = range(len(chunk) - 1, -1, -1)
            cut = next((place for place in places if boundary.match(chunk, place)), None)
            if cut is None:
                held.append(chunk)
            else:
                yield "".join((*held, chunk[:cut]))
                held = [chunk[cut:]]
        yield "".join(held)

    def place(self, text: str, index: int) -> int:
        """Where in a text what becomes its normalised character of that index begins."""
        return bisect_right(range(len(text)), index, key=lambda end: len(self(text[:end]))) - 1

    @cached_property
    def latin(self) -> Latin:
        """What becomes of a text that is all of Latin-1."""
        table = _LOWER if self.case == "lower" else AS_IT_IS.table
        if self.newlines == "space":
            table = table.replace(b"\n", b" ")
        return Latin(table, b"\n" if self.newlines == "drop" else b"")

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


NOTEBOOK = Normalisation(case="lower", nfc=False, newlines="drop")
"""What the notebook does: lower-case everything, delete newlines."""


def with_lf(text: str) -> str:
    """A whole text with its line ends as LF, as `corpus.read_text` reads a file's."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def is_latin(text: str) -> bool:
    """Whether all its characters are of Latin-1, where a character is a byte."""
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


_LOWER = bytes(map(ord, bytes(range(256)).decode("latin-1").lower()))
_PLAIN = r"[0-9A-Za-z\u3400-\u9fff]"
_BOUNDARIES = {
    "keep": re.compile(rf"[ \n]|(?<={_PLAIN}){_PLAIN}"),
    "space": re.compile(rf"[ \n]|(?<={_PLAIN}){_PLAIN}"),
    "drop": re.compile(rf" |(?<={_PLAIN}){_PLAIN}|(?<={_PLAIN}\n){_PLAIN}"),
}
"""Where the two sides of a text can be normalised apart, by what becomes of newlines: before a
space, or a newline that stays, or between two plain letters, digits or ideographs, for scripts and
data without spaces. None of them composes with what stands before it, and lower-casing a capital
sigma, which depends on the letters around it (final or not), looks no further than the next of
them."""
