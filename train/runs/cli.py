"""`charlm runs`: parse, read, print."""

from pathlib import Path
from typing import Annotated

import typer

from charlm.data.system import console

EXAMPLES = {
    "charlm runs": "The runs under runs/:",
    "charlm runs /data/runs": "Those of another folder:",
    "charlm runs --json > runs.json": "For a program, with validation and the text's sha256:",
}
app = console.make_app()


@app.command(cls=console.grouped({"Output": "as_json"}, EXAMPLES))
def runs(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="The folder that holds the run folders.")
    ] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
    debug: console.Debug = False,
    version: console.Version = False,
) -> None:
    """Compare runs: text, model, epochs, minutes, bits per character on the test part, state.

    Runs of one text stand together, the best first: bits of different texts, or of texts that were
    normalised or split in different ways, can't be compared.
    """
    del debug, version
    import json
    from dataclasses import asdict

    from charlm.train.runs.listing import list_runs, table

    found = list_runs(folder)
    if as_json:
        print(json.dumps([asdict(each) for each in found], ensure_ascii=False, indent=1))
    else:
        print("\n".join(table(found)))


def main() -> None:
    """Entry point of the command."""
    console.run(app, "charlm runs")


if __name__ == "__main__":
    main()
