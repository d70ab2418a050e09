"""A text that a person and a model write in turns: what each line that is typed does to it.

`terminal` asks for the lines; here is nothing of a terminal, so that anything can hold a session.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from charlm.data.system.errors import CharlmError, CorpusError, SettingsError
from charlm.data.system.files import os_errors_as, write_text
from charlm.data.text.corpus import read_text
from charlm.infer.generator import Generator
from charlm.infer.request import Request

NUMBERS: dict[str, type[int] | type[float]] = {
    "temperature": float, "seed": int, "length": int, "top_k": int, "top_p": float, "min_p": float,
}  # fmt: skip
COMMANDS = {
    "/more": "go on with the text; so does an empty line",
    "/undo": "take back the last turn",
    "/new": "begin a new text",
    "/temperature [N]": "show or set; so with /seed, /length, /top-k, /top-p and /min-p",
    "/save FILE": "write the text",
    "/load FILE": "go on with a file's text",
    "/help": "this list",
    "/quit": "end; so does Ctrl-D",
}
HELP = "\n".join(
    (
        "What you type is continued as text; // begins a line with /. Ctrl-C stops the text.",
        *(f"  {name:17} {does}" for name, does in COMMANDS.items()),
    )
)
TAIL = 200  # characters of a text that has changed, to see where it stands


class Quit(Exception):
    """The user has had enough."""


@dataclass(frozen=True)
class Turn:
    """What a line led to.

    Attributes:
        drawn: text as it is drawn, to be shown as it comes; None: nothing is drawn.
    """

    said: str = ""  # for the user, a line or more; empty: nothing
    shown: str = ""  # text that comes before what is drawn
    drawn: Iterator[str] | None = None


class Session:
    """A text in the making, and how it is drawn.

    Each turn draws with the seed's next sample, so that the same lines give the same text again,
    and `/undo` and `/more` another.

    Attributes:
        text: all so far, as the model reads it.
    """

    def __init__(self, generator: Generator, request: Request) -> None:
        self._generator, self._request = generator, request
        self.text = ""
        self._before: list[str] = []  # the text before each turn
        self._own: set[Path] = set()  # files that this session has written
        self._commands: dict[str, Callable[[str], Turn]] = {
            "more": lambda _: self._go_on(""), "undo": self._undo, "new": self._new,
            "save": self._save, "load": self._load, "help": lambda _: Turn(HELP),
            "quit": self._quit,
        }  # fmt: skip

    def take(self, line: str) -> Turn:
        """Do what a line says: a command, or text to go on with.

        Raises:
            CharlmError: it can't be done; the text is as before.
            Quit: the user wants to leave.
        """
        if line.startswith("//"):
            return self._go_on(line[1:])
        if not line.startswith("/"):
            return self._go_on(line)
        name, _, argument = line[1:].strip().partition(" ")
        argument, setting = argument.strip(), name.replace("-", "_")
        if setting in NUMBERS:
            return self._set(setting, argument)
        if name not in self._commands:
            raise SettingsError(f"there is no /{name}: /help lists the commands")
        if (name in ("save", "load")) != bool(argument):
            takes = "takes a file: /{0} FILE" if not argument else "takes nothing after it"
            raise SettingsError(f"/{name} {takes.format(name)}")
        return self._commands[name](argument)

    def _go_on(self, typed: str) -> Turn:
        typed = self._generator.normalised(typed, self._request.unknown)
        before = self.text
        pieces = self._generator.stream_of(replace(self._request, prompt=before + typed)).pieces()
        self._request = replace(self._request, sample=self._request.sample + 1)
        self._change(before + typed)
        return Turn(shown=typed, drawn=self._kept(pieces))

    def _kept(self, pieces: Iterator[str]) -> Iterator[str]:
        for piece in pieces:
            self.text += piece
            yield piece

    def _change(self, text: str) -> None:
        self._before.append(self.text)
        self.text = text

    def _set(self, name: str, value: str) -> Turn:
        command = "/" + name.replace("_", "-")
        if value:
            try:
                number = NUMBERS[name](value)
            except ValueError as problem:
                kind = "a whole number" if NUMBERS[name] is int else "a number"
                raise SettingsError(f"{command} takes {kind}, not {value!r}") from problem
            fresh = {"sample": 0} if name == "seed" else {}
            self._request = replace(self._request, **{name: number}, **fresh)  # type: ignore[arg-type]
        return Turn(f"{command} {getattr(self._request, name)}")

    def _undo(self, _: str) -> Turn:
        if not self._before:
            raise SettingsError("there is no turn to take back")
        self.text = self._before.pop()
        return Turn(self._state())

    def _new(self, _: str) -> Turn:
        self._change("")
        return Turn(self._state())

    def _save(self, name: str) -> Turn:
        path = _path(name)
        with os_errors_as(SettingsError, f"can't write {path}"):
            if path.exists() and path.resolve() not in self._own:
                raise SettingsError(f"{path} is there already: choose another name")
            write_text(path, self.text)
            self._own.add(path.resolve())
        return Turn(f"{path}: {len(self.text):,} characters")

    def _load(self, name: str) -> Turn:
        path = _path(name)
        with os_errors_as(CorpusError, f"can't read {path}"), path.open("rb") as file:
            text = "".join(read_text(file, "utf-8", str(path)))
        try:
            text = self._generator.normalised(text, self._request.unknown)
        except CharlmError as problem:
            raise type(problem)(f"{path}: {problem}") from problem
        self._change(text)
        return Turn(self._state())

    def _quit(self, _: str) -> Turn:
        raise Quit

    def _state(self) -> str:
        """Where the text stands."""
        if not self.text:
            return "a new text"
        cut = "…" if len(self.text) > TAIL else ""
        return f"{len(self.text):,} characters:\n{cut}{self.text[-TAIL:]}"


def _path(name: str) -> Path:
    """A path as it was typed, ~ as the home folder."""
    try:
        return Path(name).expanduser()
    except RuntimeError as problem:
        raise SettingsError(f"{name}: there is no such home folder: leave out the ~") from problem
