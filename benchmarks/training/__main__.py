"""`python -m charlm.benchmarks.training OUT.md`: where the time of a training step goes."""

from pathlib import Path
from typing import Annotated

import typer

from charlm.data import console

app = console.make_app()


@app.command()
def run(
    out: Annotated[Path, typer.Argument(help="Markdown file to write.")],
    hidden: Annotated[list[int], typer.Option(help="Units.")] = [192, 512],  # noqa: B006
    batch: Annotated[list[int], typer.Option(help="Streams.")] = [16, 64],  # noqa: B006
    window: Annotated[int, typer.Option(help="Characters in a window.")] = 96,
    vocabulary: Annotated[int, typer.Option(help="Characters of the model.")] = 62,
    threads: Annotated[list[int], typer.Option(help="Threads.")] = [1, 2],  # noqa: B006
    rounds: Annotated[int, typer.Option(help="Turns of each.")] = 15,
) -> None:
    """Time a step's parts beside the peak of the machine's matrix product."""
    from charlm.benchmarks.training import page
    from charlm.benchmarks.training.measure import measure
    from charlm.benchmarks.training.parts import Size
    from charlm.data.files import write_text
    from charlm.train.allocator import keep_freed_memory

    keep_freed_memory()
    sizes = [Size(units, streams, window, vocabulary) for units in hidden for streams in batch]
    text = page.as_markdown(measure(sizes, threads, rounds))
    write_text(out, text)
    typer.echo(text)


def main() -> None:
    """Entry point."""
    console.run(app, "training")


if __name__ == "__main__":
    main()
