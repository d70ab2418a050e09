"""`charlm-score`: parse, score, print."""

import json
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.data import console
from charlm.infer import options

if TYPE_CHECKING:
    from charlm.infer.score import Score

app = console.make_app()


@app.command()
def score(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Text files; - is standard input.")
    ],
    model: options.ModelFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    encoding: Annotated[str, typer.Option(help="Of the files.")] = "utf-8",
    unknown: options.Unknown = "error",
    provider: options.Provider = "auto",
    threads: options.Threads = None,
    tf32: options.Tf32 = False,
    debug: console.Debug = False,
    version: console.Version = False,
) -> None:
    """Bits per character and perplexity of texts under a model.

    Each file is one text, read from a zero state; its first character is read, not predicted.

    Example: charlm-score book.txt --model model.onnx
    """
    del debug, version
    from charlm.infer import output, shipped
    from charlm.infer.artifact import open_model
    from charlm.infer.score import Scorer
    from charlm.infer.score_progress import read_with_progress

    path = model or shipped.default_model()
    with output.text_output() as out:
        opened = open_model(path, provider, threads, tf32=tf32)
        console.say(f"charlm-score: {shipped.describe(path)}, {opened.device}")
        scorer = Scorer(opened, unknown)
        scores: list[Score] = []
        for file in files:
            scores.append(scorer.score(read_with_progress(file, encoding), str(file)))
            if not as_json:
                out.write(_line(str(file), scores[-1]) + "\n")
                out.flush()
        total = reduce(add, scores)
        if as_json:
            listed = [
                {"file": str(file), **_fields(each)}
                for file, each in zip(files, scores, strict=True)
            ]
            out.write(json.dumps({"files": listed, "total": _fields(total)}) + "\n")
        elif len(scores) > 1:
            out.write(_line("total", total) + "\n")


def _line(name: str, found: "Score") -> str:
    return (
        f"{name}: {found.bits_per_character:.4f} bits/char, "
        f"perplexity {found.perplexity:.3f}, {found.characters:,} characters"
    )


def _fields(found: "Score") -> dict[str, float | int]:
    return {
        "bits_per_character": found.bits_per_character,
        "perplexity": found.perplexity,
        "characters": found.characters,
        "bits": found.bits,
    }


def main() -> None:
    """Entry point of the command."""
    console.run(app, "charlm-score", quick_exit=True)


if __name__ == "__main__":
    main()
