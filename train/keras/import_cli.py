"""`charlm-import`: parse, import, report."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.data.system import console

if TYPE_CHECKING:
    from charlm.train.keras.import_keras import ImportedModel

GROUPS = {
    "Run": "out overwrite",
    "Characters": "corpus vocabulary",
    "Text": "encoding case newlines nfc",
}
EXAMPLES = {
    "charlm-import notebook.keras --corpus lovecraft.txt": "A model and the text it learnt from:",
    "charlm-import notebook.h5 --vocabulary characters.json": "Without the text:",
    "charlm-import notebook.keras --corpus book.txt --case keep": "Where capitals were kept:",
}
app = console.make_app()


@app.command(cls=console.grouped(GROUPS, EXAMPLES))
def import_model(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A .keras or .h5 file of Keras 2 or 3.")
    ],
    corpus: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="TEXT", help="The text that the model was trained on; several if there were."
        ),
    ] = None,
    vocabulary: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="A JSON list of the model's characters in the order of its ids.",
            show_default="the sorted characters of --corpus",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder.", show_default="runs/<name of the model>")
    ] = None,
    case: Annotated[str | None, typer.Option(help="keep, or lower.", show_default="lower")] = None,
    newlines: Annotated[
        str | None, typer.Option(help="keep, drop, or space.", show_default="drop")
    ] = None,
    nfc: Annotated[
        bool | None, typer.Option(help="Compose accents (Unicode NFC).", show_default="no-nfc")
    ] = None,
    encoding: Annotated[str, typer.Option(help="Encoding of the text files.")] = "utf-8",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Throw away the run in the folder.")
    ] = False,
    debug: console.Debug = False,
    version: console.Version = False,
) -> None:
    """Turn a trained Keras model (LSTM on one-hot characters) into a run folder.

    The text or list says which character is which. Case and newlines are treated as the notebook
    does, unless said otherwise. Keras reads the file; TensorFlow is not needed.
    """
    del debug, version
    from charlm.data.system.extras import require_there

    require_there("keras", "torch", "safetensors", "h5py", "keras")
    from charlm.train.keras.import_keras import ImportRequest, import_keras

    texts = tuple(corpus or ())
    request = ImportRequest(model, texts, vocabulary, out, overwrite, encoding, case, newlines, nfc)
    _report(import_keras(request), bool(texts))


def _report(done: "ImportedModel", with_corpus: bool) -> None:
    architecture, results = done.keras.architecture, done.results
    console.say(
        f"{done.folder}: {architecture.layers} x LSTM({architecture.hidden}), "
        f"{architecture.vocabulary} characters, of Keras {done.keras.version}; equal to Keras "
        f"itself on windows (largest relative difference {done.error:.0e})"
    )
    if not architecture.softmax:
        console.say(f"{done.folder}: the model has no softmax; its outputs are taken as logits")
    if not with_corpus:
        console.say(
            f"{done.folder}: without --corpus the first character after an empty prompt is drawn "
            "evenly from all, and no bits per character were measured"
        )
    elif (bits := results["test_bits_per_character"]) is not None:
        by_windows = ""
        if (windowed := results["windowed_bits_per_character"]) is not None:
            by_windows = (
                f", {windowed:.3f} by windows of {architecture.window} "
                f"({results['windowed_characters']:,} characters)"
            )
        console.say(
            f"{done.folder}: {bits:.3f} bits/char with the state carried "
            f"({results['test_characters']:,} characters){by_windows}, on the last 5 % of the "
            "corpus, which the model may have learnt from"
        )
    console.say(f"next: charlm-export model.onnx --run {shlex.quote(str(done.folder))}")


def main() -> None:
    """Entry point of the command."""
    console.run(app, "charlm-import")


if __name__ == "__main__":
    main()
