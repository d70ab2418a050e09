"""The prompt line of `charlm-gen --interactive`: asks, shows, and goes on after Ctrl-C."""

import re
import sys
from typing import IO, TYPE_CHECKING

from charlm.data.system import console
from charlm.data.system.errors import SETTING, CharlmError, SettingsError
from charlm.data.system.extras import require
from charlm.infer.cli.session import COMMANDS, NUMBERS, Quit, Session, Turn
from charlm.infer.cli.shared import write_live
from charlm.infer.generator import Generator
from charlm.infer.request import Request

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession


def check(*, others: bool) -> None:
    """What a prompt line needs.

    Raises:
        MissingExtraError: prompt_toolkit is not installed.
        SettingsError: nobody sits at a terminal, or such options.
    """
    if others:
        raise SettingsError(
            "`interactive` writes one text in turns: leave out `prompts`, `samples`, `json` "
            "and `null`"
        )
    require("prompt_toolkit", "interactive")
    if sys.stdin is None or not sys.stdin.isatty() or not sys.stderr.isatty():
        raise SettingsError(
            "`interactive` needs a terminal; without one, give a PROMPT or `prompts`"
        )


def run(
    out: IO[str], generator: Generator, request: Request, lines: "PromptSession[str] | None" = None
) -> None:
    """Write a text in turns until the user leaves.

    Args:
        out: where the text goes; all else goes to stderr.
        request: how text is drawn; a prompt is the first turn.
    """
    session = Session(generator, request)
    console.say("charlm-gen: type the beginning of a text; /help lists commands, Ctrl-D ends")
    asking = lines or _lines()
    given = request.prompt
    while True:
        try:
            if given:
                line, given = ("/" if given.startswith("/") else "") + given, ""
            else:
                line = asking.prompt("> ")
            turn = session.take(line)
            _show(out, turn)
        except KeyboardInterrupt:  # ends the line, or the text that is drawn
            continue
        except (EOFError, Quit):
            return
        except CharlmError as problem:
            console.say(" ".join(SETTING.sub(_as_typed, str(problem)).splitlines()))


def _as_typed(found: re.Match[str]) -> str:
    """A setting as it is changed here, or else as an option of the command."""
    return ("/" if found[1] in NUMBERS else "--") + found[1].replace("_", "-")


def _show(out: IO[str], turn: Turn) -> None:
    if turn.said:
        console.say(turn.said)
    if turn.drawn is not None:
        out.write(turn.shown)
        out.flush()
        write_live(out, turn.drawn)


def _lines() -> "PromptSession[str]":
    """Asks for lines on stderr, with a history of this session and Tab for commands."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import InMemoryHistory
    from prompt_toolkit.output import create_output

    commands = [name.partition(" ")[0] for name in COMMANDS]
    return PromptSession(
        history=InMemoryHistory(),
        completer=WordCompleter(commands, sentence=True),
        complete_while_typing=False,
        erase_when_done=True,  # what was typed is shown again as part of the text
        output=create_output(sys.stderr),
    )
