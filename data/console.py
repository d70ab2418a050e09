"""What every command shares: one line for an error, clean ends, `--version` and `--debug`."""

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from charlm.data.errors import CharlmError

USER_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"charlm {version('charlm')}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")]


def make_app() -> typer.Typer:
    """A typer application without what would make it slow to start."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def say(message: str) -> None:
    """Print a line to stderr: stdout is for text."""
    print(message, file=sys.stderr, flush=True)


def run(app: typer.Typer, name: str) -> None:
    """Run a command and end the process with its exit code.

    A user's mistake is one line on stderr and exit code 2; Ctrl-C ends with 130; a reader that
    closed the pipe ends it silently.
    """
    sys.exit(exit_code(app, name, sys.argv[1:]))


def exit_code(app: typer.Typer, name: str, arguments: list[str]) -> int:
    """Run a command with `arguments` and return its exit code."""
    command: Callable[..., Any] = typer.main.get_command(app)
    debug = "--debug" in arguments
    try:
        result = command(args=arguments, prog_name=name, standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return 0
    except CharlmError as error:
        if debug:
            raise
        say(f"{name}: {error}")
    except OSError as error:
        if debug:
            raise
        say(f"{name}: {_about(error)}")
        _silence_stdout()
    except Exception as error:
        message = getattr(error, "format_message", None)
        if debug or message is None:
            raise
        say(f"{name}: {message()} (see {name} --help)")
    return USER_ERROR


def _about(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _silence_stdout() -> None:
    """Point stdout at nothing, or Python complains of it once more while it exits."""
    with open(os.devnull, "w") as nothing:  # noqa: PTH123 - a descriptor is wanted, no path
        os.dup2(nothing.fileno(), sys.stdout.fileno())
