"""`charlm-score`: parse, score, print."""

import io
from pathlib import Path
from typing import Annotated

import typer

from charlm.data.system import console
from charlm.infer.cli import shared as cli_shared

GROUPS = {
    "Model and text": "model encoding unknown window",
    "Output": "show color html tokens as_json",
    "One long text": "parallel segments warm_up",
    "Hardware": "provider threads precision",
}
EXAMPLES = {
    "charlm-score book.txt --model model.onnx": "How well a model predicts a book:",
    "charlm-score chapters/*.txt --json": "Many texts, side by side:",
    "cat letter.txt | charlm-score -": "A text from standard input:",
}
app = console.make_app()


@app.command(cls=console.grouped(GROUPS, EXAMPLES))
def score(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Text files; - is standard input.")
    ],
    model: cli_shared.ModelFile = None,
    parallel: Annotated[
        bool, typer.Option("--parallel", help="Cut each text into segments, scored side by side.")
    ] = False,
    segments: Annotated[
        int | None,
        typer.Option(help="With --parallel: side by side, at most.", show_default="64 a thread"),
    ] = None,
    warm_up: Annotated[
        int | None,
        typer.Option(
            help="With --parallel: characters that a segment reads before its own.",
            show_default="256",
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            help="Judge each character after exactly so many from a zero state, N times the work; "
            "the figure with the state carried stands beside it.",
            show_default="after all before it",
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print the text, each character coloured by its bits.")
    ] = False,
    color: Annotated[
        str, typer.Option(help="With --show: always, never, or auto: in a terminal.")
    ] = "auto",
    html: Annotated[
        Path | None,
        typer.Option(
            help="Write a page of the text, coloured, with what was expected in each place.",
            metavar="FILE.html",
        ),
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(
            help="Write each character with its bits and its rank among all.",
            metavar="FILE.jsonl|.csv",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    encoding: Annotated[str, typer.Option(help="Encoding of the files.")] = "utf-8",
    unknown: cli_shared.Unknown = None,
    precision: cli_shared.Precision = "float32",
    provider: cli_shared.Provider = "auto",
    threads: Annotated[
        int | None,
        typer.Option(help="Batches of texts or segments side by side.", show_default="all cores"),
    ] = None,
    debug: console.Debug = False,
    version: console.Version = False,
) -> None:
    """Bits per character and perplexity of texts under a model.

    Each file is one text, read from a zero state; its first character is read, not predicted.
    One file is scored at the speed of one stream, exactly; several files, or the segments of
    --parallel, fill the cores. What is wrong with one of several files is a line on stderr, and
    the exit code is 2; the others are scored.
    """
    del debug, version
    from charlm.data.system.cores import check_threads, usable_cores
    from charlm.data.text.corpus import read_text
    from charlm.infer.engines.planning import provider_for
    from charlm.infer.model import shipped
    from charlm.infer.model.open import open_model
    from charlm.infer.scoring import report

    check_threads(threads)
    for _ in read_text(io.BytesIO(), encoding, ""):  # an unknown one, once and not for each file
        pass
    views = None
    if show or html or tokens or color != "auto":
        from charlm.infer.scoring.views import Views

        views = Views(show, color, html, tokens)
    job = report.ScoringJob(
        files, encoding=encoding, unknown=unknown, precision=precision,
        threads=threads or usable_cores(), parallel=parallel, segments=segments, warm_up=warm_up,
        as_json=as_json, window=window, views=views,
    )  # fmt: skip
    path = shipped.find_model(model)
    with cli_shared.text_output(*job.files) as out:
        # Threads inside the operators are for a single text and a large model.
        device, _ = provider_for(report.work_of(job), provider, precision)
        opened = open_model(path, device, threads if job.alone else 1, precision)
        about = f"charlm-score: {shipped.describe(path)}, {opened.device}"
        failures = report.run(out, opened, job, about)
    if failures:
        raise typer.Exit(console.USER_ERROR)


def main() -> None:
    """Entry point of the command."""
    console.run(app, "charlm-score", quick_exit=True)


if __name__ == "__main__":
    main()
