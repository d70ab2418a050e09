"""`charlm-data`: list the corpora, fetch one."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from charlm.data.system import console


def catalogue() -> str:
    """One line a corpus: its name, its size in bytes, what it is, and how to have it."""
    from charlm.data.text.corpus import SAMPLE
    from charlm.data.text.fetch import SOURCES, default_path

    rows = [
        ("sample", SAMPLE.stat().st_size, "stories that ship with charlm", "charlm-train"),
        *(
            (
                source.name,
                source.size,
                source.about,
                f"charlm-data fetch {source.name}  (to {default_path(source)})",
            )
            for source in SOURCES.values()
        ),
    ]
    return "\n".join(
        f"{name:<16} {size:>9,} bytes  {about:<32} {how}" for name, size, about, how in rows
    )


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
        _print_catalogue()


@app.command("list")
def list_command(debug: console.Debug = False) -> None:
    """List the corpora that charlm knows, as the bare command does."""
    del debug
    _print_catalogue()


def _print_catalogue() -> None:

    print(catalogue())


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="lovecraft or tinyshakespeare.")],
    to: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="corpora/<name>.txt")
    ] = None,
    debug: console.Debug = False,
) -> None:
    """Download a corpus, check its sha256, and print the file's path.

    Example: charlm-data fetch lovecraft --to lovecraft.txt
    """
    del debug
    from charlm.data.text import fetch as library

    source = library.find(name)
    path = to or library.default_path(source)
    with download_bar(name, source.size) as progress:
        fetched = library.fetch(source, path, progress)
    console.say(f"{'downloaded' if fetched else 'there already'}, sha256 as pinned; next:")
    console.say(f"  {library.next_command(path)}")
    print(path)


def main() -> None:
    """Entry point of the command."""
    console.run(app, "charlm-data")


if __name__ == "__main__":
    main()
