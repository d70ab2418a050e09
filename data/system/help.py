"""How a command's help looks: options in groups, examples to copy, plain text of 80 columns.

Typer's own help draws boxes, which leave a third of such a line to the words, and imports rich.
"""

import re
from typing import Any

from charlm.data.system.console import GroupedCommand

LEFT = 30  # columns at most for an option's name, as click has it
_BRACKETS = re.compile(r"\[default: \((.*)\)\]")


def write_options(command: GroupedCommand, context: Any, formatter: Any) -> None:
    """Write arguments and options, all names in one column."""
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    sections = [("Arguments", arguments), *command.grouped()]
    sections[-1][1].extend(each for each in command.get_params(context) if each.name == "help")
    rows = {title: [_row(each, context) for each in listed] for title, listed in sections if listed}
    lengths = [len(left) for listed in rows.values() for left, _ in listed]
    column = max(length for length in lengths if length <= LEFT)
    for title, listed in rows.items():
        with formatter.section(title):
            formatter.write_dl([(left.ljust(column), right) for left, right in listed], LEFT)


def write_examples(command: GroupedCommand, formatter: Any) -> None:
    """Write the examples: what each does, and its line."""
    if command.examples:
        with formatter.section("Examples"):
            for line, what in command.examples.items():
                formatter.write_text(what)
                formatter.write(f"    {line}\n")


def _row(parameter: Any, context: Any) -> tuple[str, str]:
    """An option as typer describes it, its default without a second pair of brackets."""
    left, right = parameter.get_help_record(context)
    return left, _BRACKETS.sub(r"[default: \1]", right)
