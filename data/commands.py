"""`charlm`: one command for all, `charlm gen` for `charlm-gen` and so on."""

import os
import sys
from functools import partial
from importlib import import_module
from typing import Any

from charlm.data.system import console
from charlm.data.system.package import version

COMMANDS = {
    "data": ("charlm.data.cli", "corpora: list them, download and check one"),
    "train": ("charlm.train.cli", "train a model on texts"),
    "import": ("charlm.train.keras.import_cli", "make a run of a trained Keras model"),
    "runs": ("charlm.train.runs.cli", "compare runs in a table"),
    "report": ("charlm.train.report.cli", "how good a run is, and what to try next"),
    "export": ("charlm.export.cli", "write a run as a proven ONNX graph"),
    "show": ("charlm.export.show", "what a model or a run is"),
    "gen": ("charlm.infer.cli.gen", "generate text"),
    "score": ("charlm.infer.cli.score", "bits per character of texts"),
    "serve": ("charlm.infer.cli.serve", "serve models over HTTP"),
    "bench": ("charlm.benchmarks.cli", "measure this machine"),
    "completion": ("charlm.data.completion", "complete commands and options in your shell"),
}
ALONE = ("runs", "show", "completion")  # which are no programs of their own


def program(name: str) -> str:
    """What a command is called where it speaks of itself."""
    return f"charlm {name}" if name in ALONE else f"charlm-{name}"


def main() -> None:
    """Entry point: the rest of the command line is that of the command named first."""
    if console.completing("charlm"):
        _complete()
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in COMMANDS:
        del sys.argv[1]
        import_module(COMMANDS[name][0]).main()
    else:
        console.run(partial(_answer, name), "charlm")


def _answer(name: str) -> int:
    """Do what `charlm` does itself; its exit code."""
    if name in ("-h", "--help"):
        print("charlm COMMAND …, each with --help:")
        for command, (_, what) in COMMANDS.items():
            print(f"  charlm {command:12}{what}")
    elif name == "--version":
        print(f"charlm {version()}")
    else:
        console.say(f"charlm: there is no command {name!r}; they are: {', '.join(COMMANDS)}")
        return console.USER_ERROR
    return 0


def _complete() -> None:
    """Answer a shell that completes a command line: only the command that it names is loaded."""
    import typer
    from typer.core import TyperCommand, TyperGroup

    words = (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()
    commands: dict[str, Any] = {name: TyperCommand(name, help=what)
                                for name, (_, what) in COMMANDS.items()}  # fmt: skip
    if len(words) > 1 and words[1] in COMMANDS:
        module = import_module(COMMANDS[words[1]][0])
        commands[words[1]] = typer.main.get_command(module.app)
    TyperGroup(name="charlm", commands=commands).main(args=[], prog_name="charlm")


if __name__ == "__main__":
    main()
