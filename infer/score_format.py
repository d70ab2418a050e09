"""What is said of a score, as a line and as fields of JSON."""

from typing import TYPE_CHECKING, Any, TypeAlias

from charlm.infer.lacking import of_text
from charlm.infer.score import Score, WindowScore

if TYPE_CHECKING:  # one file as it stands is the common case, and starts without this
    from charlm.infer.score_segments import SegmentedScore

Found: TypeAlias = "Score | SegmentedScore | WindowScore"


def line(name: str, found: Found) -> str:
    """A text's name and what was found of it, for people."""
    score = found if isinstance(found, Score) else found.score
    said = (
        f"{name}: {score.bits_per_character:.4f} bits/char, "
        f"perplexity {score.perplexity:.3f}, {score.characters:,} characters{of_text(score)}"
    )
    if isinstance(found, Score):
        return said
    return f"{said}; {_by_windows(found) if isinstance(found, WindowScore) else _cut_up(found)}"


def _by_windows(found: WindowScore) -> str:
    return (
        f"each after the last {found.window} alone; "
        f"state carried: {found.carried.bits_per_character:.4f} bits/char"
    )


def _cut_up(found: "SegmentedScore") -> str:
    """What cutting the text up has done to its score."""
    if found.borders == 0:
        return "too short to be cut, exact"
    error = f" ± {found.difference_error:.1g}" if found.difference_error else ""
    return (
        f"{found.segments} segments, warmed up on {found.warm_up} characters: "
        f"{found.difference:+.2g}{error} bits/char from the exact figure, "
        f"measured at {len(found.excess)} of {found.borders} borders"
    )


def fields(found: Found) -> dict[str, Any]:
    """What JSON says of a score."""
    if isinstance(found, WindowScore):
        return {
            **fields(found.score),
            "window": found.window,
            "carried": fields(found.carried),
        }
    if not isinstance(found, Score):
        return {
            **fields(found.score),
            "parallel": True,
            "segments": found.segments,
            "warm_up": found.warm_up,
            "difference_from_exact": found.difference,
            "difference_error": found.difference_error,
            "borders_measured": len(found.excess),
        }
    return {
        "bits_per_character": found.bits_per_character,
        "perplexity": found.perplexity,
        "characters": found.characters,
        "bits": found.bits,
        "replaced": found.replaced,
        "dropped": found.dropped,
    }
