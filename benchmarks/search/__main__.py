"""`python -m charlm.benchmarks.search`: run trials, and make their table.

python -m charlm.benchmarks.search run TEXT --records trials.jsonl lr=0.032 window=48,batch=32
python -m charlm.benchmarks.search table trials.jsonl
"""

from pathlib import Path
from typing import Annotated

import typer

from charlm.data import console

app = console.make_app()


@app.command()
def run(
    text: Annotated[Path, typer.Argument(help="Corpus.")],
    trials: Annotated[list[str], typer.Argument(help="`name=value,name=value`, or `defaults`.")],
    records: Annotated[Path, typer.Option(help="File that a line a trial is added to.")],
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    test: Annotated[bool, typer.Option(help="Judge the test split too: final rows.")] = False,
    learnt: Annotated[
        int, typer.Option(help="Percent to learn from; below 90 all the rest judges.")
    ] = 90,
    keep: Annotated[
        bool, typer.Option(help="Keep case and newlines, where the notebook does not.")
    ] = False,
) -> None:
    """Train variants, one after another, on 90 % of a text, and judge each on the next 5 %.

    What is rare is what `charlm-train` has as rare.
    """
    from charlm.benchmarks.search import trial, variant
    from charlm.data.corpus import read_corpus
    from charlm.data.errors import SettingsError
    from charlm.data.normalise import NOTEBOOK, Normalisation

    if not 1 <= learnt <= trial.LEARNT or (test and learnt < trial.LEARNT):
        raise SettingsError(f"--learnt is from 1 to {trial.LEARNT}, and with --test that")
    variants = [variant.parse(each) for each in trials]
    corpus = read_corpus([text], Normalisation() if keep else NOTEBOOK, learnt=learnt)
    for each in variants:
        result = trial.run(corpus, each, threads, test=test, learnt=learnt)
        variant.append(records, result)
        typer.echo(
            f"{result.validation_bits:.4f}  {result.train_bits:.4f}  "
            f"{result.cpu_seconds:6.0f} s  {each}"
        )


@app.command()
def table(records: Annotated[Path, typer.Argument(help="What `run` wrote.")]) -> None:
    """Print the trials as a Markdown table."""
    from charlm.benchmarks.search.table import as_markdown
    from charlm.benchmarks.search.variant import read

    typer.echo(as_markdown(read(records)))


def main() -> None:
    """Entry point."""
    console.run(app, "search")


if __name__ == "__main__":
    main()
