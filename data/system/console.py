"""What every command shares: one line for an error, clean ends, `--version` and `--debug`."""

import contextlib
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from typing import IO, Annotated, Any, ClassVar

import typer
from typer.core import TyperCommand

from charlm.data.system.errors import CharlmError, CorpusError, SettingsError, as_options
from charlm.data.system.files import in_one_line, writing

USER_ERROR = 2
stdout_is_closed = False  # before the command began: what it is for would be lost
INTERRUPTED = 130  # 128 + SIGINT, as shells count


def _show_version(wanted: bool) -> None:
    if wanted:
        from charlm.data.system.package import version

        print(f"charlm {version()}")
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


class GroupedCommand(TyperCommand):
    """A command whose options stand in groups, and whose help ends in examples (see `help`).

    Attributes:
        groups: by title, the names of parameters; those that none has come last.
        examples: command lines, each with what it does.
    """

    groups: ClassVar[dict[str, tuple[str, ...]]] = {}
    examples: ClassVar[dict[str, str]] = {}

    def grouped(self) -> Iterator[tuple[str, list[Any]]]:
        """The title and options of each group, in the order of `groups`."""
        options = {each.name: each for each in self.params if each.param_type_name == "option"}
        for title, names in self.groups.items():
            yield title, [options.pop(name) for name in names]
        yield "Other" if self.groups else "Options", list(options.values())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As of any command, but no path is empty: it would be the current folder.

        Raises:
            SettingsError: one is, as where a shell's variable is not set.
        """
        given, *_ = self.make_parser(ctx).parse_args(args=list(args))
        for each in () if ctx.resilient_parsing else self.params:  # a shell completes the line
            name = str(each.name)
            values = given.get(name) if each.type.name == "path" else None
            if "" in (values if isinstance(values, list | tuple) else (values,)):
                typed = each.opts[0] if each.param_type_name == "option" else each.metavar or name
                raise SettingsError(f"{typed} is empty: name a path, or leave it out")
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, options and examples; click calls it for `--help`."""
        from charlm.data.system import help  # which nothing else needs

        help.write_options(self, ctx, formatter)
        help.write_examples(self, formatter)


def grouped(groups: dict[str, str], examples: dict[str, str]) -> type[GroupedCommand]:
    """The class of a command with these groups and examples, for `app.command(cls=…)`.

    Args:
        groups: by title, names of parameters with spaces between them.
        examples: command lines, each with what it does.
    """
    names = {title: tuple(listed.split()) for title, listed in groups.items()}
    return type("Grouped", (GroupedCommand,), {"groups": names, "examples": examples})


def say(message: str) -> None:
    """Print a line to stderr: stdout is for text. Where it can't be written, work goes on."""
    with contextlib.suppress(OSError):
        # At once, its end too: several processes may write there.
        print(f"{message}\n", end="", file=sys.stderr, flush=True)


class Output(io.TextIOWrapper):
    """Text on standard output, whose errors say so."""

    def write(self, text: str) -> int:
        """As of any text file."""
        with writing("standard output"):
            return super().write(text)

    def flush(self) -> None:
        """As of any text file."""
        with writing("standard output"):
            super().flush()


def standard_input() -> IO[bytes]:
    """Standard input, as bytes.

    Raises:
        CorpusError: it is closed.
    """
    if sys.stdin is None:
        raise CorpusError("standard input is closed: name a file, or give the text by a pipe")
    return sys.stdin.buffer


def run(app: typer.Typer | Callable[[], object], name: str, *, quick_exit: bool = False) -> None:
    """Run a command and end the process with its exit code.

    A user's mistake is one line on stderr and exit code 2; Ctrl-C ends with 130; a reader that
    closed the pipe ends it silently.

    Args:
        app: the command, or what it does where it takes no options.
        name: what it is called.
        quick_exit: leave without taking the interpreter apart, which takes a fifth of the time of
            a short text; only for commands that have nothing left to do by then.
    """
    global stdout_is_closed
    stdout_is_closed = sys.stdout is None
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # the caller closed it: what is written goes nowhere
            setattr(sys, stream, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    if isinstance(out := sys.stdout, io.TextIOWrapper):
        sys.stdout = Output(
            out.buffer, out.encoding, out.errors,
            line_buffering=out.line_buffering, write_through=out.write_through,
        )  # fmt: skip
    code = exit_code(app, name, sys.argv[1:])
    if code == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # another Ctrl-C finds nothing to break into
    if quick_exit:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def exit_code(app: typer.Typer | Callable[[], object], name: str, arguments: list[str]) -> int:
    """Run a command with `arguments` and return its exit code (see `run`)."""
    try:
        result = _call(app, name, arguments)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        return 0
    except Exception as error:
        message = _in_one_line(error, name)
        if message is None or _wants_debug(arguments):
            raise
        with contextlib.suppress(OSError):
            say(f"{name}: {message}")
        return USER_ERROR
    finally:
        _settle_stdout()


def completion_variable(name: str) -> str:
    """What a shell sets to have a command line of this program completed instead of run."""
    return f"_{name}_COMPLETE".replace("-", "_").upper()


def completing(name: str) -> bool:
    """Whether a shell asks so; typer is then made ready to answer."""
    if completion_variable(name) not in os.environ:
        return False
    from typer._completion_classes import completion_init

    completion_init()
    return True


def _call(app: typer.Typer | Callable[[], object], name: str, arguments: list[str]) -> object:
    """The command's own result. Typer ends with code 1 where a pipe closes: that is undone."""
    if not isinstance(app, typer.Typer):
        return app()
    completing(name)
    command = typer.main.get_command(app)
    command.context_settings["help_option_names"] = ["-h", "--help"]
    try:
        return command(args=arguments, prog_name=name, standalone_mode=False)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        raise


def _wants_debug(arguments: list[str]) -> bool:
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--debug" in options


def _in_one_line(error: Exception, name: str) -> str | None:
    """What to tell a user, or nothing if the error is not the user's."""
    if isinstance(error, CharlmError):
        return as_options(" ".join(str(error).splitlines()))
    if isinstance(error, OSError):
        if notes := getattr(error, "__notes__", None):
            return in_one_line(error, notes[0])
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    if isinstance(error, UnicodeEncodeError):
        what = ascii(error.object[error.start : error.start + 1])
        if re.fullmatch("utf[-_]?8", error.encoding, re.IGNORECASE):  # which writes all there are
            return f"{what} is no character: it can't be written in {error.encoding}"
        return f"{what} can't be written in {error.encoding}; set PYTHONIOENCODING=utf-8"
    if usage := getattr(error, "format_message", None):  # typer's and click's usage errors
        said = " ".join(usage().split())
        if "unexpected extra argument" in said and name.endswith("gen"):
            said += "; a text of several words is quoted"
        if re.search("No such option: -[^-]", said):
            said += "; -- stands before a text that begins with a dash"
        return f"{said} (see {name} --help)"
    return None


def _settle_stdout() -> None:
    """Write what stdout still holds. Where it can't be written, point stdout at nothing, or
    Python complains of it once more while it exits.
    """
    try:
        sys.stdout.flush()
    except OSError:
        with open(os.devnull, "w") as nothing:  # noqa: PTH123 - a descriptor is wanted, no path
            os.dup2(nothing.fileno(), sys.stdout.fileno())
