"""Stop strings: where a text that is still being drawn ends, and how much of it can be shown."""

from collections.abc import Iterable, Iterator

from charlm.data.system.errors import SettingsError, VocabularyError
from charlm.export.contract import Metadata


def normalised(stops: Iterable[str], metadata: Metadata) -> tuple[str, ...]:
    """Stop strings as the model would write them.

    Raises:
        VocabularyError: a character that the model never writes.
        SettingsError: a stop string with nothing in it, also after normalisation.
    """
    known = set(metadata.vocabulary.characters)
    found = []
    for given in stops:
        normal = metadata.normalisation(given)
        if not normal:
            why = "empty" if not given else "empty once it is normalised as the corpus was"
            raise SettingsError(f"the stop string {given!r} is {why}")
        if outside := next((each for each in normal if each not in known), None):
            raise VocabularyError(
                f"the stop string {given!r} can never come: {outside!r} "
                f"(U+{ord(outside):04X}) is not one of the model's {len(known)} characters"
            )
        found.append(normal)
    return tuple(found)


class StopFinder:
    """Looks for stop strings in one text that arrives in pieces.

    The one that is complete first ends the text; of several that end at the same character, the
    longest.

    Attributes:
        found: which of them has ended the text, by its index, or None.
        held: the end of the text so far that may be the beginning of a stop string.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._beginnings = {stop[:length] for stop in stops for length in range(1, len(stop))}
        self._longest = max((len(stop) for stop in stops), default=1) - 1
        self.found: int | None = None
        self.held = ""

    def take(self, piece: str) -> str:
        """Take the next piece; what of the text is certain by it and was not before."""
        certain, self.held, self.found = self.look(piece)
        return certain

    def look(self, piece: str) -> tuple[str, str, int | None]:
        """What `take` would give, and leave in `held` and in `found`."""
        text = self.held + piece
        begins = [text.find(stop) for stop in self._stops]
        ends = [
            (begin + len(stop), begin, index)
            for index, (begin, stop) in enumerate(zip(begins, self._stops, strict=True))
            if begin >= 0
        ]
        if ends:
            _, begin, found = min(ends)
            return text[:begin], "", found
        lengths = range(min(self._longest, len(text)), 0, -1)
        held = next((length for length in lengths if text[-length:] in self._beginnings), 0)
        certain = len(text) - held
        return text[:certain], text[certain:], None


def until(pieces: Iterable[str], stops: tuple[str, ...]) -> Iterator[str]:
    """The text before the first stop string, in pieces, as soon as they can't belong to one."""
    finder = StopFinder(stops)
    for piece in pieces:
        yield finder.take(piece)
        if finder.found is not None:
            return
    yield finder.held
