"""`charlm`: one command for all, `charlm gen` for `charlm-gen` and so on."""

import sys
from importlib import import_module

from charlm.data.system import console
from charlm.data.system.package import version

COMMANDS = {
    "data": ("charlm.data.cli", "corpora: list them, download and check one"),
    "train": ("charlm.train.cli", "train a model on texts"),
    "import": ("charlm.train.keras.import_cli", "make a run of a trained Keras model"),
    "report": ("charlm.train.report.cli", "how good a run is, and what to try next"),
    "export": ("charlm.export.cli", "write a run as a proven ONNX graph"),
    "gen": ("charlm.infer.cli", "generate text"),
    "score": ("charlm.infer.score_cli", "bits per character of texts"),
    "bench": ("charlm.benchmarks.cli", "measure this machine"),
}


def main() -> None:
    """Entry point: the rest of the command line is that of the command named first."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in COMMANDS:
        del sys.argv[1]
        import_module(COMMANDS[name][0]).main()
    elif name in ("-h", "--help"):
        print("charlm COMMAND …, each with --help:")
        for command, (_, what) in COMMANDS.items():
            print(f"  charlm {command:8}{what}")
    elif name == "--version":
        print(f"charlm {version()}")
    else:
        console.say(f"charlm: there is no command {name!r}; they are: {', '.join(COMMANDS)}")
        sys.exit(console.USER_ERROR)


if __name__ == "__main__":
    main()
