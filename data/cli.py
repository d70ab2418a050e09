"""`charlm-data`: list the corpora, fetch one."""

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from charlm.data.system import console

app = console.make_app()


@app.callback(invoke_without_command=True)
def list_corpora(
    context: typer.Context, debug: console.Debug = False, version: console.Version = False
) -> None:
    """List the corpora that charlm knows, or fetch one.

    Example: charlm-data fetch tinyshakespeare
    """
    del debug, version
    if context.invoked_subcommand is None:
        list_command()


@app.command("list")
def list_command(debug: console.Debug = False) -> None:
    """List the corpora that charlm knows, as the bare command does."""
    del debug
    from charlm.data.text.corpus import SAMPLE
    from charlm.data.text.fetch import DOWNLOADS, default_path

    lines = [("sample", SAMPLE.stat().st_size, "stories that ship with charlm", "charlm-train")]
    for each in DOWNLOADS.values():
        how = f"charlm-data fetch {each.name}  (to {default_path(each)})"
        lines.append((each.name, each.size, each.about, how))
    for name, size, about, how in lines:
        print(f"{name:<16} {size:>9,} bytes  {about:<32} {how}")


@app.command(cls=console.grouped({}, {"charlm-data fetch lovecraft": "To corpora/lovecraft.txt:"}))
def fetch(
    name: Annotated[str, typer.Argument(help="lovecraft or tinyshakespeare.")],
    to: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="corpora/<name>.txt")
    ] = None,
    debug: console.Debug = False,
) -> None:
    """Download a corpus, check its sha256, and print the file's path."""
    del debug
    from charlm.data.text import fetch as library

    source = library.find(name)
    path = to or library.default_path(source)
    with download_bar(name, source.size) as progress:
        fetched = library.fetch(source, path, progress)
    console.say(f"{'downloaded' if fetched else 'there already'}, sha256 as pinned; next:")
    console.say(f"  charlm-train {shlex.quote(str(path))}")
    print(path)


@contextlib.contextmanager
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


def main() -> None:
    """Entry point of the command."""
    console.run(app, "charlm-data")


if __name__ == "__main__":
    main()
