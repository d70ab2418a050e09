"""`charlm-export`: parse, export or verify, report."""

from pathlib import Path
from typing import Annotated

import typer

from charlm.data import console
from charlm.data.errors import SettingsError

app = console.make_app()


@app.command()
def export(
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL.onnx", help="The file to write.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Run folder.", show_default="the newest under runs/")
    ] = None,
    verify_only: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL.onnx",
            help="Write nothing; prove an existing file, against --run or its own weights.",
        ),
    ] = None,
    debug: console.Debug = False,
    version: console.Version = False,
) -> None:
    """Write a trained run as one stateful ONNX step graph, proven equal to the Torch model.

    Example: charlm-export model.onnx --run runs/book
    """
    del debug, version
    if (model is None) == (verify_only is None):
        raise SettingsError(
            "name one file: charlm-export MODEL.onnx to write it, "
            "or charlm-export --verify-only MODEL.onnx to prove it"
        )
    _check_extras()
    from charlm.export.export import export_run, verify_file
    from charlm.train import run_folder

    if verify_only is not None:
        proof = verify_file(verify_only, run)
        against = "the weights it carries" if run is None else str(run)
        console.say(f"{verify_only}: proven against {against}")
    else:
        assert model is not None
        source = run or run_folder.newest()
        done = export_run(source, model)
        proof = done.proof
        console.say(
            f"{done.model}: {done.size:,} bytes, {done.metadata.layers} x "
            f"LSTM({done.metadata.hidden}), {len(done.metadata.vocabulary)} characters, "
            f"proven equal to {source}"
        )
    for line in proof.lines():
        console.say(f"  largest relative error, {line}")
    if model is not None:
        console.say(f"next: charlm-gen --model {model} 'Once upon a time'")


def _check_extras() -> None:
    from charlm.data.extras import require, require_onnxruntime

    for module in ("torch", "onnx", "safetensors"):
        require(module, "train")
    require_onnxruntime()


def main() -> None:
    """Entry point of the command."""
    console.run(app, "charlm-export")


if __name__ == "__main__":
    main()
