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

from charlm.data.commands import COMMANDS, program

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
REFERENCE = DOCS / "reference" / "commands.md"
STAGED = ROOT / "build" / "docs"
FILES = "https://example.org/charlm/blob/main/"
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)[^)#\s]+")

INTRODUCTION = """# Commands

`docs/build.py` made this page from the programs' own help.

Each command is also a subcommand of `charlm`: `charlm gen` is `charlm-gen`. `charlm completion` has
your shell complete them all. Text goes to standard output, everything else to standard error. A
mistake is one line and exit code 2. Every command has `--help`, `--version`, and `--debug`, which
shows a traceback on errors.
"""
COMMON = {"help", "version", "debug"}
TYPES = {"integer": "int", "text": "str"}  # as some versions of typer call them, and others


def reference() -> str:
    """The page of all commands, with each argument and option, its default and what it does."""
    return "\n".join([INTRODUCTION, *(_section(name) for name in COMMANDS)])


def _section(name: str) -> str:
    command = typer.main.get_command(import_module(COMMANDS[name][0]).app)
    return "\n".join(_lines(program(name), command, "##"))


def _lines(name: str, command: Any, heading: str) -> Iterator[str]:
    yield f"{heading} {name}\n\n{_text(command.help)}\n"
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    groups = command.grouped() if hasattr(command, "grouped") else ()
    for title, parameters in (("", arguments), *groups):
        options = [_option(each) for each in parameters if each.name not in COMMON]
        if options:
            yield (
                "\n".join(
                    (f"**{title}**\n" if getattr(command, "groups", {}) and title else "", *options)
                ).lstrip()
                + "\n"
            )
    if examples := getattr(command, "examples", {}):
        lines = (f"# {what}\n{line}" for line, what in examples.items())
        yield "```sh\n" + "\n\n".join(lines) + "\n```\n"
    for sub, subcommand in getattr(command, "commands", {}).items():
        yield from _lines(f"{name} {sub}", subcommand, heading + "#")


def _text(text: str) -> str:
    """A command's own words, a line a paragraph, its example as code."""
    paragraphs = [" ".join(each.split()) for each in text.split("\n\n")]
    return "\n\n".join(re.sub("^Example: (.*)", r"Example: `\1`", each) for each in paragraphs)


def _option(parameter: Any) -> str:
    """An argument or option as an item of a list: how it is typed, what it does, its default."""
    flag = getattr(parameter, "is_flag", False)
    value = parameter.metavar or TYPES.get(parameter.type.name, parameter.type.name).upper()
    if parameter.param_type_name == "argument":
        typed = parameter.metavar or parameter.name.upper()
    elif flag:
        typed = "`, `".join((*parameter.opts, *parameter.secondary_opts))
    else:
        typed = f"{parameter.opts[0]} {value}"
    default = getattr(parameter, "show_default", None)
    if not isinstance(default, str):  # words that stand for the value
        default = parameter.opts[0] if flag and parameter.default else parameter.default
    said = " ".join(parameter.help.split())
    if default not in (None, False, ""):
        said += f" *Default:* {default}."
    return f"- `{typed}`: {said.replace('<', '&lt;')}"


def stage() -> None:
    """Copy the pages to `build/docs`, with their links as `linked` makes them."""
    shutil.rmtree(STAGED, ignore_errors=True)
    shutil.copytree(DOCS, STAGED, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for page in DOCS.rglob("*.md"):
        text = linked(page, page.read_text(encoding="utf-8"))
        (STAGED / page.relative_to(DOCS)).write_text(text, encoding="utf-8")


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
