"""Figures in words: rates, times, sizes and ratios, each with its spread and its warning."""

from charlm.benchmarks.spread import Spread

MEBIBYTE = 1 << 20
UNSTABLE = "unstable"
UNSTABLE_MEANS = (
    "Unstable: the middle half of the trials spans more than 15 % of the median, or the highest "
    "is over 1.5 times the lowest"
)


def number(value: float) -> str:
    """Three digits are what a spread leaves; thousands are set apart."""
    return f"{value:.3g}" if value < 100 else f"{float(f'{value:.3g}'):,.0f}"


def spread(found: Spread | None) -> str:
    """Median and ends, and whether they lie too far apart."""
    if found is None:
        return ""
    text = f"{number(found.median)} ({number(found.low)} to {number(found.high)})"
    return f"{text} {UNSTABLE}" if found.unstable else text


def seconds(found: Spread | None) -> str:
    """Median and ends in seconds."""
    if found is None:
        return ""
    text = f"{found.median:.3f} s ({found.low:.3f} to {found.high:.3f})"
    return f"{text} {UNSTABLE}" if found.unstable else text


def mebibytes(size: int | None) -> str:
    """A size of memory."""
    return f"{size / MEBIBYTE:.1f} MiB" if size is not None else ""


def percent(share: float) -> str:
    """A share with two digits."""
    return f"{float(f'{100 * share:.2g}'):g} %"
