"""`python -m charlm.benchmarks.study`: train one side and write down what it reaches, or draw all.

python -m charlm.benchmarks.study run notebook-torch TEXT --records study.jsonl
python -m charlm.benchmarks.study run notebook-keras TEXT --records study.jsonl
python -m charlm.benchmarks.study run stateful TEXT --records study.jsonl
python -m charlm.benchmarks.study draw study.jsonl --out DIR
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from charlm.data.system import console

app = console.make_app()


class Side(StrEnum):
    """Whose training."""

    notebook_torch = "notebook-torch"
    notebook_keras = "notebook-keras"
    stateful = "stateful"


@app.command()
def run(
    side: Side,
    text: Annotated[Path, typer.Argument(help="Corpus; normalised as the notebook does.")],
    records: Annotated[Path, typer.Option(help="File that a line an epoch is added to.")],
    epochs: Annotated[
        int | None, typer.Option(help="Unsaid, 10 for the notebook; ours by size.")
    ] = None,
    hidden: Annotated[int, typer.Option(help="Units.")] = 192,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the weights, and of the order of windows.")] = 0,
) -> None:
    """Train one side on 95 % of a text, and judge the last 5 % after every epoch."""
    from charlm.benchmarks.study import sides
    from charlm.benchmarks.study.record import check_judged, prepare
    from charlm.data.text.corpus import read_corpus
    from charlm.data.text.normalise import NOTEBOOK
    from charlm.train.config import ModelConfig, TrainingConfig

    # What would fail in training, or after it, is refused before.
    TrainingConfig(epochs=epochs, threads=threads, seed=seed)
    ModelConfig(1, hidden)
    corpus = read_corpus([text], NOTEBOOK)
    check_judged(corpus, text)
    prepare(records)
    options = sides.SideOptions(epochs, hidden, threads, seed, records)
    if side is Side.notebook_keras:
        sides.train_keras(corpus, options)
    else:
        sides.train_torch(corpus, "stateful" if side is Side.stateful else "notebook", options)


@app.command()
def draw(
    records: Annotated[Path, typer.Argument(help="What `run` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for study.md and study.svg.")],
) -> None:
    """Write the picture and the table."""
    from charlm.benchmarks.study import page
    from charlm.benchmarks.study.record import read

    page.write(read(records), out)


if __name__ == "__main__":
    console.run(app, "study")
