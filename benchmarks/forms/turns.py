"""Timing calls within one process: in turns, so that what slows the machine slows them alike."""

import statistics
import time
from collections.abc import Callable, Mapping

from charlm.benchmarks.spread import Spread, ratios

Times = dict[str, list[float]]  # microseconds a unit in each round, by name


def in_turns(
    calls: Mapping[str, Callable[[], object]], units: float, rounds: int, seconds: float
) -> Times:
    """Time each call so many rounds.

    Args:
        calls: what to time.
        units: of work in one call.
        rounds: trials of each.
        seconds: of one trial, about.
    """
    counts = {name: _count(call, seconds) for name, call in calls.items()}
    times: Times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken = _time(call, counts[name])
            times[name].append(1e6 * taken / counts[name] / units)
    return times


def afresh(
    openers: Mapping[str, Callable[[], Callable[[], object]]],
    units: float,
    rounds: int,
    seconds: float,
) -> Times:
    """As `in_turns`, but each round opens anew what it calls.

    Where its weights come to lie in memory moves a session's speed by some per cent, more than many
    forms differ by: so the spread holds it, and the median does not hang on it.

    Args:
        openers: what makes each call.
        units: of work in one call.
        rounds: trials of each.
        seconds: of one trial, about.
    """
    times: Times = {name: [] for name in openers}
    for _ in range(rounds):
        calls = {name: opener() for name, opener in openers.items()}
        for name, found in in_turns(calls, units, 1, seconds).items():
            times[name] += found
    return times


def cell(times: Times, name: str, base: str | None = None) -> str:
    """Median, its ratio to `base` in the same rounds, and the ends, for a table."""
    spread = Spread.of(times[name])
    if spread is None:
        return ""
    ratio = f" ×{statistics.median(ratios(times[name], times[base])):.2f}" if base else ""
    median, low, high = (f"{each:.3g}" for each in (spread.median, spread.low, spread.high))
    return f"{median}{ratio} ({low} - {high})"


def table(first: str, columns: Mapping[str, Mapping[str, str]]) -> str:
    """A Markdown table of cells by column and row; a cell that is missing stays empty."""
    rows = dict.fromkeys(row for column in columns.values() for row in column)
    lines = [f"| {first} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {row} | " + " | ".join(column.get(row, "") for column in columns.values()) + " |"
        for row in rows
    ]
    return "\n".join(lines)


def _count(call: Callable[[], object], seconds: float) -> int:
    """Calls that take about so many seconds, after a warm-up."""
    call()
    call()
    return max(1, round(seconds / max(_time(call, 2) / 2, 1e-9)))


def _time(call: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        call()
    return time.perf_counter() - began
