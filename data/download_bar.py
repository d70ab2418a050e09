"""A download as a person watches it: a bar on stderr, gone when it is done."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def download_bar(name: str, size: int) -> Iterator[Callable[[int], None]]:
    """Show how much of `size` bytes is there; nothing where stderr is no terminal.

    Yields:
        The function to call with the number of bytes that are there so far.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=size)
        yield lambda there: bar.update(task, completed=there)
