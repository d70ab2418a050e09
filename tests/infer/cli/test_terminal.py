"""The commands in a pseudo-terminal: what a person sees, and what Ctrl-C does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are POSIX's")
if os.name != "nt":
    from tests.infer.cli.terminal import ENTERED, PROMPT, Terminal


def test_the_bar_of_scoring_leaves_its_line_to_the_result(small_path: Path, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("the city " * 15_000, encoding="utf-8")
    files = ["a.txt", "b.txt", "--model", str(small_path)]
    with Terminal("charlm.infer.cli.score", *files, folder=tmp_path) as terminal:
        assert terminal.ended() == 0
    assert "2 files" in terminal.raw  # the bar was there
    about, *results = terminal.screen()
    assert about == f"charlm-score: {small_path}, cpu"
    assert [line.partition(":")[0] for line in results] == ["a.txt", "b.txt", "total"]
    assert all(line.endswith(" characters") for line in results)


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_a_terminal_that_wants_them(
    small_path: Path, tmp_path: Path, environment: dict[str, str], coloured: bool
) -> None:
    (tmp_path / "a.txt").write_text("the city", encoding="utf-8")
    given = ("a.txt", "--show", "--model", str(small_path))
    with Terminal("charlm.infer.cli.score", *given, folder=tmp_path, **environment) as terminal:
        assert terminal.ended() == 0
    assert ("\x1b[48;" in terminal.raw) == coloured
    assert terminal.screen()[1] == "the city"


def test_ctrl_c_stops_the_text_and_ctrl_d_ends(small_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("prompt_toolkit")
    given = ("--interactive", "--length", "0", "--seed", "1", "--model", str(small_path))
    with Terminal("charlm.infer.cli.gen", *given, folder=tmp_path) as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("the city\r")
        terminal.wait_for(f"{ENTERED}the city")
        terminal.wait_for("m")  # some of what is drawn
        terminal.type("\x03")
        terminal.wait_for(PROMPT)
        terminal.type("/nothing\r")
        terminal.wait_for("there is no /nothing")
        terminal.wait_for(PROMPT)
        terminal.type("\x1b[A")  # the line before, from the history
        terminal.wait_for("/nothing")
        terminal.type("\x03")
        terminal.wait_for(PROMPT)
        terminal.type("/save a.txt\r")
        terminal.wait_for(" characters\r\n")
        terminal.wait_for(PROMPT)
        terminal.type("\x04")
        assert terminal.ended() == 0
    text = (tmp_path / "a.txt").read_text("utf-8")
    assert text.startswith("the city")
    assert "m" in text


def test_without_a_terminal_there_is_no_prompt_line(tmp_path: Path) -> None:
    pytest.importorskip("prompt_toolkit")
    for more, saying in ((), "needs a terminal"), (("--samples", "2"), "leave out --prompts"):
        done = subprocess.run(
            [sys.executable, "-m", "charlm.infer.cli.gen", "--interactive", *more],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert saying in done.stderr
