"""Stop strings: where a text that is still being drawn ends, and how much of it can be shown."""

from collections.abc import Iterable, Iterator

from charlm.data.system.errors import SettingsError, VocabularyError
from charlm.export.contract import Metadata


def several(stop: str | tuple[str, ...]) -> tuple[str, ...]:
    """Stop strings, where one may stand for itself."""
    return (stop,) if isinstance(stop, str) else stop


def normalised(stop: str | tuple[str, ...], metadata: Metadata) -> tuple[str, ...]:
    """Stop strings as the model would write them.

    Raises:
        VocabularyError: a character that the model never writes.
        SettingsError: a stop string with nothing in it, also after normalisation.
    """
    known = set(metadata.vocabulary.characters)
    found = []
    for given in several(stop):
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


def find(text: str, stops: tuple[str, ...], start: int = 0) -> tuple[int, str] | None:
    """The stop string that is complete first, and where in the text it begins.

    Of several that end at the same character, the longest. Nothing that begins before `start`
    is looked at.
    """
    best: tuple[int, int, str] | None = None
    for stop in stops:
        begin = text.find(stop, start)
        if begin >= 0 and (best is None or (begin + len(stop), begin) < best[:2]):
            best = begin + len(stop), begin, stop
    return None if best is None else best[1:]


def until(pieces: Iterable[str], stops: tuple[str, ...]) -> Iterator[str]:
    """The text before the first stop string, in pieces, as soon as they can't belong to one."""
    held = ""
    for piece in pieces:
        held += piece
        if (found := find(held, stops)) is not None:
            yield held[: found[0]]
            return
        safe = len(held) - begun(held, stops)
        yield held[:safe]
        held = held[safe:]
    yield held


def begun(text: str, stops: tuple[str, ...]) -> int:
    """How many of the text's last characters may be the beginning of a stop string."""
    longest = max((len(stop) for stop in stops), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        end = text[-length:]
        if any(stop != end and stop.startswith(end) for stop in stops):
            return length
    return 0
