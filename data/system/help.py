"""How a command shows its help: options in groups, examples to copy, plain text of 80 columns.

Typer's own help draws boxes, which leave a third of such a line to the words, and imports rich.
"""

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from typer.core import TyperCommand

LEFT = 30  # columns at most for an option's name, as click has it
_BRACKETS = re.compile(r"\[default: \((.*)\)\]")


class GroupedCommand(TyperCommand):
    """A command whose options stand in groups.

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

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options; click calls it."""
        common = [each for each in self.get_params(ctx) if each.name == "help"]
        arguments = [each for each in self.params if each.param_type_name == "argument"]
        sections = [("Arguments", arguments), *self.grouped()]
        sections[-1][1].extend(common)
        rows = {title: [_row(each, ctx) for each in listed] for title, listed in sections if listed}
        lengths = [len(left) for listed in rows.values() for left, _ in listed]
        column = max(length for length in lengths if length <= LEFT)
        for title, listed in rows.items():
            with formatter.section(title):
                formatter.write_dl([(left.ljust(column), right) for left, right in listed], LEFT)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write the examples; click calls it."""
        if self.examples:
            with formatter.section("Examples"):
                for line, what in self.examples.items():
                    formatter.write_text(what)
                    formatter.write(f"    {line}\n")


def grouped(groups: dict[str, str], examples: dict[str, str]) -> type[GroupedCommand]:
    """The class of a command with these groups and examples, for `app.command(cls=…)`.

    Args:
        groups: by title, names of parameters with spaces between them.
        examples: command lines, each with what it does.
    """
    names = {title: tuple(listed.split()) for title, listed in groups.items()}
    return type("Grouped", (GroupedCommand,), {"groups": names, "examples": examples})


def _row(parameter: Any, ctx: Any) -> tuple[str, str]:
    """An option as typer describes it, its default without a second pair of brackets."""
    left, right = parameter.get_help_record(ctx)
    return left, _BRACKETS.sub(r"[default: \1]", right)
