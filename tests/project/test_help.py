"""The help of every command: groups, defaults and examples, in a terminal of 80 columns."""

import os
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from charlm.data.commands import ALONE, COMMANDS, program
from charlm.data.system import console
from charlm.data.system.console import GroupedCommand

GROUPED = [name for name in COMMANDS if name != "data"]  # which has commands of its own


def command_of(name: str) -> Any:
    return typer.main.get_command(import_module(COMMANDS[name][0]).app)


def examples(name: str) -> list[str]:
    command = command_of(name)
    assert isinstance(command, GroupedCommand)
    return list(command.examples)


@pytest.mark.parametrize("name", GROUPED)
def test_help_fits_and_can_be_read(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    app = import_module(COMMANDS[name][0]).app
    assert console.exit_code(app, program(name), ["--help"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "default: (" not in " ".join(shown.split())
    assert shown.index("Arguments:" if "Arguments:" in shown else "Run:") < shown.index("--help")
    for line in examples(name):
        assert line in shown
    assert console.exit_code(app, program(name), ["--version"]) == 0
    assert capsys.readouterr().out.startswith("charlm ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("option", ["--help", "--version"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_help_on_a_full_disk_is_one_line(option: str, unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "charlm.data.commands", option], stdout=full,
            stderr=subprocess.PIPE, text=True, check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    said = "charlm: can't write standard output: no space left on device\n"
    assert (ended.returncode, ended.stderr) == (2, said)


@pytest.mark.parametrize("name", GROUPED)
def test_every_option_stands_in_a_group(name: str) -> None:
    *_, (title, left) = command_of(name).grouped()
    assert {each.name for each in left} <= {"debug", "version"}, f"{title}: give it a group"


@pytest.mark.parametrize("name", GROUPED)
def test_three_examples_that_the_command_takes(name: str) -> None:
    lines = examples(name)
    assert len(lines) == 3
    for line in lines:
        (_, *words) = shlex.split(line.split(" >")[0].split("| ")[-1])
        if name in ALONE:
            assert words.pop(0) == name
        command_of(name).make_context(program(name), words)  # raises what it does not take


@pytest.mark.parametrize(
    ("module", "words", "wanted"),
    [
        ("charlm.data.commands", "charlm s", {"show", "score", "serve"}),
        ("charlm.data.commands", "charlm gen --te", {"--temperature"}),
        ("charlm.data.commands", "charlm data f", {"fetch"}),
        ("charlm.infer.cli.gen", "charlm-gen --te", {"--temperature"}),
    ],
)
def test_a_shell_completes(module: str, words: str, wanted: set[str]) -> None:
    last = str(len(words.split()) - 1)
    variable = console.completion_variable(words.split()[0])
    done = subprocess.run(
        [sys.executable, "-m", module],
        env={**os.environ, variable: "complete_bash", "COMP_WORDS": words, "COMP_CWORD": last},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) == wanted


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_is_for_all_names(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    app = import_module(COMMANDS["completion"][0]).app
    assert console.exit_code(app, "charlm completion", [shell]) == 0
    shown = capsys.readouterr().out
    for name in ("charlm", "charlm-gen", "charlm-train"):
        assert console.completion_variable(name) in shown


def test_completion_for_a_shell_that_nobody_knows(capsys: pytest.CaptureFixture[str]) -> None:
    app = import_module(COMMANDS["completion"][0]).app
    assert console.exit_code(app, "charlm completion", ["tcsh"]) == 2
    assert "the shell is one of bash, zsh" in capsys.readouterr().err
