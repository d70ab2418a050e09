"""How commands end: exit codes, and one line for each mistake."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Annotated

import pytest
import typer

from charlm.data.system import console
from charlm.data.system.errors import CorpusError

# A command with every way to end, as a process of its own: pipes and signals are real there.
SCRIPT = """
import atexit, os, signal, sys
from pathlib import Path
import typer
from charlm.data.system import console
from charlm.data.system.errors import CorpusError
app = console.make_app()

@app.command()
def do(what: str = "", debug: console.Debug = False, version: console.Version = False) -> int:
    "Example: do"
    if what == "text": print("text" * 5, end="")
    if what == "much":
        while True: print("text" * 1000)
    if what == "error": print("partial", end=""); raise CorpusError("bad text")
    if what == "twice": atexit.register(os.kill, os.getpid(), signal.SIGINT)
    if what in ("interrupt", "twice"):
        print("partial", end=""); os.kill(os.getpid(), signal.SIGINT)
    return 0

console.run(app, "tool")
"""

Ended = subprocess.CompletedProcess[str]
# Most ends are harder while Python still holds some of the text.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def command(action: Callable[[], object]) -> typer.Typer:
    app = console.make_app()

    @app.command()
    def do(
        count: Annotated[int, typer.Option()] = 0,
        debug: console.Debug = False,
        version: console.Version = False,
        names: Annotated[list[str] | None, typer.Argument()] = None,
    ) -> object:
        return action()

    return app


def raising(error: BaseException) -> typer.Typer:
    def action() -> None:
        raise error

    return command(action)


def run_script(*arguments: str, stdout: IO[str] | int = subprocess.PIPE) -> Ended:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=BUFFERED,
    )


def test_success_is_zero_or_the_commands_own_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.exit_code(command(lambda: None), "tool", []) == 0
    assert console.exit_code(command(lambda: 3), "tool", []) == 3
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_once_more_on_the_way_out_is_no_traceback() -> None:
    ended = run_script("--what", "twice")
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (CorpusError("book.txt: empty"), "tool: book.txt: empty\n"),
        (CorpusError("a\nname: empty"), "tool: a name: empty\n"),
        (FileNotFoundError(2, "No such file", "book.txt"), "tool: book.txt: No such file\n"),
        (OSError("stuck"), "tool: stuck\n"),
        (
            UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range(128)"),
            "tool: '\\xe9' can't be written in ascii; set PYTHONIOENCODING=utf-8\n",
        ),
        (
            UnicodeEncodeError("utf-8", "a\udce9", 1, 2, "surrogates not allowed"),
            "tool: '\\udce9' is no character: it can't be written in utf-8\n",
        ),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], error: Exception, line: str
) -> None:
    assert console.exit_code(raising(error), "tool", []) == 2
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize(
    "arguments", [["--no-such"], ["--count", "many"], ["--count"], ["--debugg"]]
)
def test_a_wrong_option_is_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert console.exit_code(command(lambda: 0), "tool", arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tool: ")
    assert err.endswith(" (see tool --help)\n")
    assert err.count("\n") == 1
    assert arguments[0] in err


def test_a_choice_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    app = console.make_app()

    @app.command()
    def do(form: Annotated[str, typer.Argument(metavar="\n\tform")]) -> None: ...

    assert console.exit_code(app, "tool", []) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_debug_raises_unless_it_is_an_argument() -> None:
    app = raising(CorpusError("empty"))
    assert console.exit_code(app, "tool", ["--", "--debug"]) == 2
    with pytest.raises(CorpusError):
        console.exit_code(app, "tool", ["--debug"])


def test_a_bug_is_never_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        console.exit_code(raising(ZeroDivisionError()), "tool", [])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_interrupted_is_130_and_silent(
    capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    assert console.exit_code(raising(error), "tool", []) == 130
    assert capsys.readouterr().out == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.exit_code(raising(CorpusError("not reached")), "tool", ["--version"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("charlm ")
    assert out.count("\n") == 1
    assert err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to oneself on Windows")
@pytest.mark.parametrize(
    ("what", "code", "errors"), [("error", 2, "tool: bad text"), ("interrupt", 130, "")]
)
def test_a_process_ends_with_its_code_after_its_text(what: str, code: int, errors: str) -> None:
    ended = run_script("--what", what)
    assert (ended.returncode, ended.stdout, ended.stderr.strip()) == (code, "partial", errors)


def test_debug_shows_a_traceback() -> None:
    ended = run_script("--what", "error", "--debug")
    assert ended.returncode != 0
    assert "Traceback" in ended.stderr
    assert "CorpusError: bad text" in ended.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe has another error on Windows")
@pytest.mark.parametrize("what", ["text", "much", "error"])
def test_a_closed_pipe_ends_silently(what: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = run_script("--what", what, stdout=writer)
    finally:
        os.close(writer)
    expected = (2, "tool: bad text\n") if what == "error" else (0, "")
    assert (ended.returncode, ended.stderr) == expected


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("what", ["text", "much"])
def test_a_full_disk_behind_stdout_is_one_line(what: str) -> None:
    with Path("/dev/full").open("w") as full:
        ended = run_script("--what", what, stdout=full)
    said = "tool: can't write standard output: no space left on device\n"
    assert (ended.returncode, ended.stderr) == (2, said)
