"""`charlm completion`: the script that makes a shell complete charlm's command lines."""

import os
from pathlib import Path
from typing import Annotated

import typer

from charlm.data.system import console
from charlm.data.system.errors import SettingsError

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
EXAMPLES = {
    "charlm completion bash >> ~/.bashrc": "For every new shell, bash:",
    "charlm completion zsh >> ~/.zshrc": "zsh, after the line with compinit:",
    "charlm completion fish > ~/.config/fish/conf.d/charlm.fish": "fish:",
}
app = console.make_app()


@app.command(cls=console.grouped({}, EXAMPLES))
def completion(
    shell: Annotated[
        str,
        typer.Argument(
            metavar="[SHELL]",
            help=f"{', '.join(SHELLS[:-1])} or {SHELLS[-1]}.",
            show_default="yours, by $SHELL",
        ),
    ] = "",
    debug: console.Debug = False,
    version: console.Version = False,
) -> None:
    """Print a script with which a shell completes charlm's command lines at the Tab key."""
    del debug, version
    shell = shell or Path(os.environ.get("SHELL", "")).name
    if shell not in SHELLS:
        raise SettingsError(f"the shell is one of {', '.join(SHELLS)}, not {shell!r}")
    from typer._completion_shared import get_completion_script

    from charlm.data.commands import ALONE, COMMANDS, program

    for name in ("charlm", *(program(each) for each in COMMANDS if each not in ALONE)):
        variable = console.completion_variable(name)
        print(get_completion_script(prog_name=name, complete_var=variable, shell=shell))


def main() -> None:
    """Entry point of the command."""
    console.run(app, "charlm completion")


if __name__ == "__main__":
    main()
