"""`charlm-data`: list the corpora, fetch one."""

from pathlib import Path
from typing import Annotated

import typer

from charlm.data import console

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
    from charlm.data.catalogue import catalogue

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
    from charlm.data import fetch as library
    from charlm.data.download_bar import download_bar

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
