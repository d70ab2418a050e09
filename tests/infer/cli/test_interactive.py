"""`charlm-gen --interactive`: what lines do to a text, and the prompt line in a terminal."""

import io
from pathlib import Path

import pytest

from charlm.data.system.errors import CharlmError
from charlm.infer.cli.session import Quit, Session
from charlm.infer.generator import Generator
from charlm.infer.request import Request


class Typist:
    """Takes lines in a session, and keeps what is said and shown."""

    def __init__(self, generator: Generator, **settings: object) -> None:
        given = {"length": 20, "seed": 3} | settings
        self.session = Session(generator, Request(**given))  # type: ignore[arg-type]
        self.said = self.shown = ""

    def __call__(self, *lines: str) -> str:
        """The text after those lines."""
        for line in lines:
            turn = self.session.take(line)
            self.said, self.shown = turn.said, turn.shown + "".join(turn.drawn or ())
        return self.session.text


@pytest.fixture
def write(small: Generator) -> Typist:
    return Typist(small)


def test_what_is_typed_is_continued_as_text(write: Typist, small: Generator) -> None:
    first = "the city" + small.text("the city", length=20, seed=3)
    assert write("The City") == write.shown == first
    second = f"{first}a door" + small.text(f"{first}a door", length=20, seed=3, sample=1)
    assert write("a door") == first + write.shown == second
    more = second + small.text(second, length=20, seed=3, sample=2)
    assert write("/more") == more
    assert write("") == more + small.text(more, length=20, seed=3, sample=3)


def test_the_same_lines_give_the_same_text_and_a_turn_drawn_anew_another(small: Generator) -> None:
    lines = ["the", "/more", "/undo", "/more"]
    write = Typist(small)
    texts = [write(line) for line in lines]
    assert texts[2] == texts[0]
    assert texts[3] != texts[1]
    assert Typist(small)(*lines) == texts[3]
    assert write("/new", "/seed 3", *lines) == texts[3]


def test_settings_are_shown_and_hold_from_then_on(write: Typist, small: Generator) -> None:
    write("/temperature 0", "/length 7", "/top-k")
    assert write.said == "/top-k 0"
    write("the")
    assert write.shown == "the" + small.text("the", length=7, temperature=0)


def test_undo_goes_back_through_all_turns(write: Typist) -> None:
    texts = [write(line) for line in ("the", "/new", "city")]
    assert [write("/undo") for _ in texts] == [texts[1], texts[0], ""]
    assert write.said == "a new text"


def test_a_text_is_saved_and_gone_on_with(write: Typist, small: Generator, tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    text = write("the", f"/save {path}")
    assert path.read_text("utf-8") == text
    assert write("/more", f"/save {path}") == path.read_text("utf-8")  # its own file
    other = Typist(small)
    assert other(f"/load {path}") == path.read_text("utf-8")
    assert other.said.startswith("43 characters:\nthe")
    path.write_text("a city", encoding="utf-8")
    with pytest.raises(CharlmError, match=r"mine\.txt is there already: choose another name"):
        other(f"/save {path}")
    assert path.read_text("utf-8") == "a city"


@pytest.mark.parametrize(
    ("line", "saying"),
    [
        ("/nothing", "there is no /nothing: /help lists the commands"),
        ("/save ~no-one-at-all/x", "~no-one-at-all/x: there is no such home folder"),
        (f"/save {'x' * 300}", "can't write xxx"),
        ("/", "there is no /: /help"),
        ("/temperature warm", "/temperature takes a number, not 'warm'"),
        ("/seed 1.5", "/seed takes a whole number"),
        ("/length -1", "`length` is from 0"),
        ("/save", "/save takes a file: /save FILE"),
        ("/more of it", "/more takes nothing after it"),
        ("/load missing.txt", "can't read missing.txt: no such file"),
        ("/save missing/a.txt", "can't write missing/a.txt: no such file"),
        ("what?", "character '?'"),
    ],
)
def test_a_mistake_is_one_line_and_the_text_stays(
    write: Typist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, saying: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text = write("the")
    with pytest.raises(CharlmError) as problem:
        write(line)
    assert saying in str(problem.value)
    assert "\n" not in str(problem.value)
    assert write.session.text == text
    assert write("/undo") == ""


def test_two_slashes_begin_a_line_with_one(write: Typist) -> None:
    with pytest.raises(CharlmError, match="character '/'"):  # that this model lacks
        write("//")
    with pytest.raises(Quit):
        write("/quit")


def test_lines_are_asked_for_until_the_end(
    small: Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("prompt_toolkit")
    from prompt_toolkit import PromptSession
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    from charlm.infer.cli import terminal

    out = io.StringIO()
    with create_pipe_input() as keys:
        # A line with a letter put in, two mistakes, one that Ctrl-C gives up, Ctrl-D.
        keys.send_text("te\x1b[Dh\r/length x\r/temperature -1\rlost\x03\r\x04")
        lines: PromptSession[str] = PromptSession(input=keys, output=DummyOutput())
        terminal.run(out, small, Request("the", length=5, seed=3), lines)
    first = "the" + small.text("the", length=5, seed=3)
    second = first + "the" + small.text(f"{first}the", length=5, seed=3, sample=1)
    third = small.text(second, length=5, seed=3, sample=2)
    assert out.getvalue() == f"{first}\n{second[len(first) :]}\n{third}\n"
    said = capsys.readouterr().err.splitlines()
    assert said[1] == "/length takes a whole number, not 'x'"
    assert said[2].startswith("/temperature is 0 (greedy) or")
    assert len(said) == 3
