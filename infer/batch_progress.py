"""A batch's progress on stderr, where someone watches it and the text goes elsewhere."""

import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import IO

from charlm.infer.results import Outcome, Result

PATIENCE = 2.0  # seconds: a shorter job needs no bar


@contextmanager
def watched(
    outcomes: Iterator[Outcome], total: int | None, out: IO[str]
) -> Iterator[Iterator[Outcome]]:
    """The same outcomes, counted on a bar that vanishes at the end.

    Args:
        outcomes: what is counted.
        total: how many there will be, or None.
        out: where the texts go; on a terminal they are progress enough.
    """
    if out.isatty() or not sys.stderr.isatty():
        yield outcomes
        return
    counted = _counted(outcomes, total)
    try:
        yield counted
    finally:
        counted.close()


def _counted(outcomes: Iterator[Outcome], total: int | None) -> Generator[Outcome, None, None]:
    started = time.monotonic()
    texts = characters = 0
    for outcome in outcomes:
        texts += 1
        characters += outcome.characters if isinstance(outcome, Result) else 0
        yield outcome
        if time.monotonic() - started > PATIENCE:
            break
    else:
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("texts, {task.fields[rate]:,.0f} characters/s"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("texts", total=total, completed=texts, rate=0.0)
        for outcome in outcomes:
            texts += 1
            characters += outcome.characters if isinstance(outcome, Result) else 0
            rate = characters / (time.monotonic() - started)
            bar.update(task, completed=texts, rate=rate)
            yield outcome
