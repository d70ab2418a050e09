"""Makes what the site needs beside its pages: the commands' reference, and pages to build from.

    python docs/build.py

writes `reference/commands.md` anew, from the programs' own options, and copies all pages to
`build/docs`, where links to files of the repository outside `docs/` become links to the repository.
"""

import os.path
import re
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from charlm.data.umbrella import COMMANDS

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
REFERENCE = DOCS / "reference" / "commands.md"
STAGED = ROOT / "build" / "docs"
FILES = "https://example.org/charlm/blob/main/"
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)[^)#\s]+")

INTRODUCTION = """# Commands

`docs/build.py` made this page from the programs' own help.

Each command is also a subcommand of `charlm`: `charlm gen` is `charlm-gen`. Text goes to standard
output, everything else to standard error. A mistake is one line and exit code 2. Every command has
`--help`, `--version`, and `--debug`, which shows a traceback on errors.
"""
COMMON = {"help", "version", "debug"}
TYPES = {"integer": "int", "text": "str"}  # as some versions of typer call them, and others


def reference() -> str:
    """The page of all commands, with each argument and option, its default and what it does."""
    return "\n".join([INTRODUCTION, *(_section(name) for name in COMMANDS)])


def _section(name: str) -> str:
    command = typer.main.get_command(import_module(COMMANDS[name][0]).app)
    return "\n".join(_lines(f"charlm-{name}", command, "##"))


def _lines(name: str, command: Any, heading: str) -> Iterator[str]:
    yield f"{heading} {name}\n\n{_text(command.help)}\n"
    shown = [each for each in command.params if each.name not in COMMON]
    if shown:
        yield "| | | default |\n|---|---|---|"
        yield from (
            f"| {_usage(each)} | {_cell(each.help)} | {_cell(_default(each))} |" for each in shown
        )
        yield ""
    for sub, subcommand in getattr(command, "commands", {}).items():
        yield from _lines(f"{name} {sub}", subcommand, heading + "#")


def _text(text: str) -> str:
    """A command's own words, a line a paragraph, its example as code."""
    paragraphs = [" ".join(each.split()) for each in text.split("\n\n")]
    return "\n\n".join(re.sub("^Example: (.*)", r"Example: `\1`", each) for each in paragraphs)


def _usage(parameter: Any) -> str:
    """How an argument or option is typed: `--hidden INT`, `--nfc` or `--no-nfc`, `TEXT`."""
    value = parameter.metavar or TYPES.get(parameter.type.name, parameter.type.name).upper()
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    if parameter.is_flag:
        return " or ".join(f"`{each}`" for each in (*parameter.opts, *parameter.secondary_opts))
    return f"`{parameter.opts[0]} {value}`".replace("|", r"\|")


def _default(parameter: Any) -> str:
    """What holds where nothing is said; nothing for a plain flag or where there is none."""
    shown = getattr(parameter, "show_default", None)
    if isinstance(shown, str):
        return shown
    if getattr(parameter, "is_flag", False):
        return parameter.opts[0] if parameter.default else ""
    return "" if parameter.default in (None, "", ()) else str(parameter.default)


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", r"\|").replace("<", "&lt;")


def stage() -> None:
    """Copy the pages to `build/docs`, with their links as `linked` makes them."""
    shutil.rmtree(STAGED, ignore_errors=True)
    for page in DOCS.rglob("*.md"):
        target = STAGED / page.relative_to(DOCS)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(linked(page, page.read_text(encoding="utf-8")), encoding="utf-8")


def linked(page: Path, text: str) -> str:
    """The page's text, in which links that leave `docs/` lead to the repository."""

    def link(found: re.Match[str]) -> str:
        target = Path(os.path.normpath(page.parent / found[0]))
        if target.is_relative_to(DOCS):
            return found[0]
        return FILES + target.relative_to(ROOT).as_posix()

    return LINK.sub(link, text)


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
    stage()
