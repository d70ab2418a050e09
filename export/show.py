"""`charlm show`: what a model file or a run says of itself, and what stands beside it."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charlm.data.system import console

if TYPE_CHECKING:
    from charlm.export.contract import Metadata

EXAMPLES = {
    "charlm show model.onnx": "A model file:",
    "charlm show runs/book": "A run, whose weights have the same hash as its model's:",
    "charlm show lovecraft --json": "A model that ships, for a program:",
}
WIDTH, INDENT = 80, 12
SHOWN = 200  # characters of a vocabulary
app = console.make_app()


@app.command(cls=console.grouped({"Output": "as_json"}, EXAMPLES))
def show(
    named: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL|RUN",
            help="A model file, a run folder, or lovecraft or lovecraft-large, which ship.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: console.Debug = False,
    version: console.Version = False,
) -> None:
    """Say what a model or a run is: sizes, characters, training, figures, siblings, hash."""
    del debug, version
    import json

    found = describe(named)
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=1))
        return
    print(_printable(found["path"]))
    for title, text in _lines(found):
        print(
            textwrap.fill(
                _printable(text), WIDTH, initial_indent=f"  {title}".ljust(INDENT),
                subsequent_indent=" " * INDENT, break_on_hyphens=False,
            )
        )  # fmt: skip


def describe(named: Path) -> dict[str, Any]:
    """All there is to know of a model or a run, as JSON.

    Args:
        named: a model file, a run folder, a folder with a model in it, or a model that ships.

    Raises:
        ModelFileError, RunError: it is neither, or damaged.
        MissingExtraError: a run, where Torch is not installed.
    """
    from charlm.export.contract import KEY_KIND, Metadata, read_model_bytes
    from charlm.export.contract.native import properties_of
    from charlm.export.siblings import present, stale
    from charlm.train.runs import CONFIG

    if (named / CONFIG).is_file():
        exported = str(named / "model.onnx") if (named / "model.onnx").is_file() else None
        return _described(named, _metadata_of_run(named)) | {"model_file": exported}
    from charlm.infer.model.shipped import find_model  # infer alone knows the models that ship

    path = find_model(named)
    content = read_model_bytes(path)
    properties = properties_of(content, str(path))
    found = _described(path, Metadata.from_properties(properties, str(path)))
    others = {other.name for other in stale(path, found["weights_sha256"])}
    beside = present(path).values()
    return found | {
        "kind": properties.get(KEY_KIND, "step"),
        "bytes": len(content),
        "siblings": {each.name: "of other weights" if each.name in others else "of its weights"
                     for each in beside},
    }  # fmt: skip


def _described(path: Path, metadata: "Metadata") -> dict[str, Any]:
    from charlm.train.config import ModelConfig

    sizes = ModelConfig(len(metadata.vocabulary), metadata.hidden, metadata.layers)
    return {
        "path": str(path),
        "layers": sizes.layers,
        "hidden": sizes.hidden,
        "parameters": sizes.parameters,
        "weights_sha256": metadata.weights_sha256,
        "vocabulary": list(metadata.vocabulary.characters),
        "normalisation": metadata.normalisation.as_dict(),
        "rare": metadata.rare.as_dict(),
        "quality": metadata.quality,
        **{key: metadata.summary.get(key) for key in ("corpus", "training", "results", "versions")},
    }


def _metadata_of_run(folder: Path) -> "Metadata":
    from charlm.data.system.extras import require_there

    require_there("train", "torch", "safetensors")
    from charlm.export import weights
    from charlm.train.runs.run_folder import load_run

    run = load_run(folder)
    return weights.described(run, weights.from_torch(run.model))


def _lines(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is known, a title and words for it each; training and figures may be anything."""
    characters = found["vocabulary"]
    yield (
        "model",
        f"{found['layers']} x LSTM({found['hidden']}), {len(characters)} characters, "
        f"{found['parameters']:,} parameters",
    )
    if "bytes" in found:
        kind = "" if found["kind"] == "step" else f", its {found['kind']} sibling"
        yield "file", f"{found['bytes']:,} bytes{kind}"
        siblings = [name if state == "of its weights" else f"{name} ({state})"
                    for name, state in found["siblings"].items()]  # fmt: skip
        yield "siblings", ", ".join(siblings) or "none"
    else:
        yield "exported", found["model_file"] or "no model.onnx in this folder"
    yield "sha256", found["weights_sha256"]
    more = f" and {len(characters) - SHOWN:,} more" if len(characters) > SHOWN else ""
    yield "knows", "".join(characters[:SHOWN]).replace("\n", "⏎").replace(" ", "␣") + more
    yield "reads", _pairs(found["normalisation"])
    figures = found["results"] if isinstance(found["results"], dict) else {}
    figures = dict(sorted(figures.items(), key=lambda entry: "bits" not in entry[0]))
    for title, values in (("text", found["corpus"]), ("training", found["training"]),
                          ("figures", figures)):  # fmt: skip
        if words := _pairs(values):
            yield title, words
    for precision, cost in found["quality"].items():
        yield precision, f"loses {cost['loss']:.4f} bits per character"
    if words := _pairs(found["versions"]):
        yield "made with", words


def _pairs(values: object) -> str:
    """The entries of a JSON object that say something, as `name value`."""
    if not isinstance(values, dict):
        return ""
    entries = {key: ", ".join(map(str, value)) if isinstance(value, list) else value
               for key, value in values.items() if value not in (None, [], {})}  # fmt: skip
    named = ((str(key).replace("_", " "), value) for key, value in entries.items())
    return ", ".join(f"{name} {_word(value)}" for name, value in named)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _printable(text: str) -> str:
    """The text without what could move a terminal's cursor: a model file may come from anyone.

    A control character becomes its picture (a tab: ␉), any other a mark.
    """
    shown = (chr(0x2400 + ord(each)) if each < " " else each for each in text)
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in shown)


def main() -> None:
    """Entry point of the command."""
    console.run(app, "charlm show")


if __name__ == "__main__":
    main()
