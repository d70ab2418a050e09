"""What is rare among the characters of a corpus, and what becomes of it, as a record.

A text in Chinese has thousands of characters, half of which it hardly ever shows: each costs a
model as much as a frequent one, and what it was shown once it has not learnt. What is said here of
rare characters is recorded with the model, and done to prompts and scored texts again. Which
characters those are, `limit` finds.
"""

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from charlm.data.system.errors import SettingsError
from charlm.data.text.normalise import Normalisation

if TYPE_CHECKING:  # the commands' help shows the defaults below without waiting for NumPy
    from charlm.data.text.vocabulary import Unknown

POLICIES = ("error", "drop", "replace")
REPLACEMENT = "\ufffd"  # what Unicode has for characters that can't be shown
ALPHABETS = 512  # distinct characters up to which nothing is rare: any alphabet with all its signs
# Of a text with more. In a million characters of Chinese prose and verse, one that was seen twice
# cost 18.5 bits where its bare frequency says 18.8: nothing was learnt of it. Those seen three or
# four times, and kept, came to cost 16.6 where theirs says 18.0. Of 6,174 characters 4,044 remain,
# and with them 99.7 % of the text; a larger vocabulary takes its time in every step.
MIN_COUNT = 3
MAX_VOCABULARY = 8192  # the 8,105 of China's general table, and little more


@dataclass(frozen=True)
class Rare:
    """What is rare in a corpus, what becomes of it, and how much of the corpus that was.

    Where nothing is said of it, as with models of before, nothing is rare.
    """

    # What becomes of rare characters, and of any outside the vocabulary; error: nothing is rare.
    policy: Literal["error", "drop", "replace"] = "error"
    replacement: str | None = None  # one character of the vocabulary, where the policy is replace
    min_count: int = 0  # what occurs less often in the part that is learnt from is rare
    max_vocabulary: int = 0  # so is what is not among so many that are most frequent there; 0: any
    characters: int = 0  # distinct characters of the corpus that were rare
    share: float = 0.0  # of the characters of the part that is learnt from, those that were rare
    held_out_share: float = 0.0  # of the characters of the other parts

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise SettingsError(f"rare: policy is one of {', '.join(POLICIES)}")
        if (self.policy == "replace") != (self.replacement is not None):
            raise SettingsError("rare: a replacement goes with the policy replace, and no other")
        if self.replacement is not None and not (
            isinstance(self.replacement, str) and len(self.replacement) == 1
        ):
            raise SettingsError(f"rare: a replacement is one character, not {self.replacement!r}")

    @property
    def unknown(self) -> "Unknown":
        """What becomes of characters outside the vocabulary, as `Vocabulary.encode` takes it."""
        return self.policy if self.replacement is None else self.replacement

    def as_dict(self) -> dict[str, Any]:
        """The JSON form, as stored in `config.json` and in a model's metadata."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Rare":
        """Read the JSON form; keys of later versions are passed over.

        Raises:
            SettingsError: a policy of a later version, or values that contradict each other.
        """
        names = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in values.items() if key in names})

    def described(self, vocabulary: int) -> str:
        """One line for people on what was limited; empty where nothing was.

        Args:
            vocabulary: how many characters the model has.
        """
        if self.policy == "error":
            return ""
        if not self.characters:
            return f"no character of the text is rare; one that the model lacks {self._fate()}"
        why = rule(self.min_count, self.max_vocabulary, vocabulary) or "the model lacks them"
        return (
            f"{self.characters:,} characters are rare ({why}), {self.share:.2%} of what is learnt "
            f"from and {self.held_out_share:.2%} of the rest: each {self._fate()}"
        )

    def counted(self) -> str:
        """How they count in bits per character, to stand after a figure; empty where none do."""
        if not self.characters:
            return ""
        if self.replacement is None:
            return ", rare characters left out"
        return f", rare characters counted as {named(self.replacement)}"

    def _fate(self) -> str:
        return "is left out" if self.replacement is None else f"becomes {named(self.replacement)}"


NOTHING_RARE = Rare()


@dataclass(frozen=True)
class RareSettings:
    """What a user asked for; None wherever nothing was said.

    Raises:
        SettingsError: a value out of range.
    """

    # error, drop, replace, or the character to put there; None: replace where something is rare
    rare: str | None = None
    # 0 keeps even what only the held-out parts have; None: `MIN_COUNT` for a text of more than
    # `ALPHABETS` distinct characters, 0 for others
    min_count: int | None = None
    max_vocabulary: int | None = None  # 0 keeps any number; None: `MAX_VOCABULARY`

    def __post_init__(self) -> None:
        if self.rare is not None and self.rare not in POLICIES and len(self.rare) != 1:
            raise SettingsError(
                "`rare` is error, drop, replace, or the one character to put there, "
                f"not {self.rare!r}"
            )
        if self.min_count is not None and self.min_count < 0:
            raise SettingsError(f"`min_count` is at least 0, not {self.min_count}")
        if self.max_vocabulary not in (None, 0) and self.max_vocabulary < 2:
            raise SettingsError(
                f"`max_vocabulary` is at least 2, or 0 for any number, not {self.max_vocabulary}"
            )

    @property
    def replacement(self) -> str | None:
        """What rare characters become, unless they are dropped or an error."""
        if self.rare in ("error", "drop"):
            return None
        return REPLACEMENT if self.rare in (None, "replace") else self.rare

    def difference(self, rare: Rare) -> str:
        """Where this asks for something else than was done, as `name` old, not new; or empty."""
        pairs = [
            ("`rare`", rare.unknown, REPLACEMENT if self.rare == "replace" else self.rare),
            ("`min_count`", rare.min_count, self.min_count),
            ("`max_vocabulary`", rare.max_vocabulary, self.max_vocabulary),
        ]
        return "; ".join(
            f"{name} {old}, not {new}" for name, old, new in pairs if new not in (None, old)
        )


NOTHING_SAID = RareSettings()


def check_replacement(wanted: RareSettings, normalisation: Normalisation) -> None:
    """What stands for rare characters must stay as it is where a text is normalised.

    Raises:
        SettingsError: it does not, so that no text could hold it.
    """
    character = wanted.replacement
    if character is not None and normalisation(character) != character:
        raise SettingsError(
            f"`rare` {character!r}: the text is normalised before (see `case`, `newlines` and "
            f"`nfc`), which would make {normalisation(character)!r} of it; choose another"
        )


def rule(min_count: int, max_vocabulary: int, vocabulary: int) -> str:
    """What made characters rare, in words, where so many are left."""
    few = f"fewer than {min_count} in the part that is learnt from" if min_count else ""
    limited = 0 < max_vocabulary <= vocabulary
    many = f"not of the {max_vocabulary:,} most frequent there" if limited else ""
    return " or ".join(filter(None, (few, many)))


def named(character: str) -> str:
    """A character and its code point, for messages."""
    return f"{character!r} (U+{ord(character):04X})"
