"""What users are told of characters that the model lacks, where those are no error."""

from typing import TYPE_CHECKING

from charlm.data.text.rare import named
from charlm.data.text.vocabulary import Unknown
from charlm.export.contract import Metadata

if TYPE_CHECKING:  # who draws a text should not wait for what scores one
    from charlm.infer.scoring.score import Score


def of_prompts(count: int, metadata: Metadata, asked: Unknown | None, whose: str) -> str:
    """One line on so many characters that a model lacks; empty where there are none.

    Args:
        count: how many.
        metadata: of the model.
        asked: what the user wanted to become of them.
        whose: they are, as "the prompt's".
    """
    if not count:
        return ""
    unknown = metadata.unknown(asked)
    fate = "left out" if unknown == "drop" else f"read as {named(unknown)}"
    why = "" if asked is not None else ", as rare ones of its corpus were"
    one = count == 1
    return (
        f"{count:,} of {whose} characters {'is' if one else 'are'} not among the model's "
        f"{len(metadata.vocabulary):,} and {'was' if one else 'were'} {fate}{why}"
    )


def of_text(score: "Score") -> str:
    """What follows a text's figures, on how many of its characters those tell little."""
    if score.dropped:
        share = score.dropped / (score.characters + score.dropped)
        return f"; {score.dropped:,} more ({share:.2%}) that the model lacks left out"
    if score.replaced:
        share = min(1.0, score.replaced / score.characters)
        return f"; {score.replaced:,} ({share:.2%}) that the model lacks counted as another"
    return ""
