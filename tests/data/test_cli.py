"""`charlm-data`: what it prints, and where."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from charlm.data.cli import app
from charlm.data.system import console
from charlm.data.text.corpus import SAMPLE
from charlm.data.text.fetch import DOWNLOADS

if TYPE_CHECKING:
    from conftest import Server
else:
    Server = Any

Captured = pytest.CaptureFixture[str]


def charlm_data(*arguments: str) -> int:
    return console.exit_code(app, "charlm-data", list(arguments))


@pytest.fixture
def tiny(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    """A corpus that a server on loopback has, in an empty current folder."""
    monkeypatch.setitem(DOWNLOADS, "tiny", server.source())
    monkeypatch.chdir(tmp_path)
    return server


@pytest.mark.parametrize("arguments", [[], ["list"]])
def test_without_arguments_it_lists_corpora(capsys: Captured, arguments: list[str]) -> None:
    assert charlm_data(*arguments) == 0
    out, err = capsys.readouterr()
    sample, lovecraft, shakespeare = out.splitlines()
    assert sample.startswith("sample ")
    assert f"{SAMPLE.stat().st_size:,} bytes" in sample
    assert lovecraft.startswith("lovecraft ")
    assert "2,891,036 bytes" in lovecraft
    assert "charlm-data fetch lovecraft" in lovecraft
    assert str(Path("corpora/lovecraft.txt")) in lovecraft
    assert shakespeare.startswith("tinyshakespeare ")
    assert err == ""


def test_fetch_prints_the_path_and_what_to_do_next(tiny: Server, capsys: Captured) -> None:
    assert charlm_data("fetch", "tiny") == 0
    path = Path("corpora/tiny.txt")
    assert path.read_bytes() == tiny.content
    said = f"downloaded, sha256 as pinned; next:\n  charlm-train {path}\n"
    assert capsys.readouterr() == (f"{path}\n", said)


def test_fetch_to_a_file_that_is_there_the_second_time(tiny: Server, capsys: Captured) -> None:
    for said in ("downloaded", "there already"):
        assert charlm_data("fetch", "tiny", "--to", "my text.txt") == 0
        out, err = capsys.readouterr()
        assert out == "my text.txt\n"
        assert err == f"{said}, sha256 as pinned; next:\n  charlm-train 'my text.txt'\n"
    assert Path("my text.txt").read_bytes() == tiny.content
    assert not Path("corpora").exists()
    assert tiny.asked == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["fetch", "poe"], "no corpus 'poe'"),
        (["fetch"], "name"),
        (["fetch", "lovecraft", "--too", "x"], "--too"),
        (["steal"], "'steal'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_code_2(
    capsys: Captured, arguments: list[str], named: str
) -> None:
    assert charlm_data(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("charlm-data: ")
    assert named in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--debug", "fetch", "poe"], ["fetch", "poe", "--debug"]])
def test_debug_before_and_after_the_sub_command(arguments: list[str]) -> None:
    with pytest.raises(Exception, match="no corpus 'poe'"):
        charlm_data(*arguments)


def test_help_has_an_example(capsys: Captured) -> None:
    for arguments in (["--help"], ["fetch", "--help"]):
        assert charlm_data(*arguments) == 0
        assert "charlm-data fetch" in capsys.readouterr().out


def test_it_starts_without_what_it_does_not_use() -> None:
    code = """
import sys
from charlm.data.system import console
from charlm.data.cli import app
assert console.exit_code(app, "charlm-data", []) == 0
assert console.exit_code(app, "charlm-data", ["fetch", "lovecraft", "--to", "."]) == 2
heavy = {"torch", "onnx", "onnxruntime", "matplotlib", "urllib.request"}
sys.exit(", ".join(sorted(heavy & set(sys.modules))) or 0)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals on Windows")
def test_the_bar_shows_on_a_terminal_and_vanishes() -> None:
    code = """
from charlm.data.cli import download_bar
with download_bar("tiny", 100) as progress:
    progress(100)
"""
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        ended = subprocess.run(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=theirs,
            check=False,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "80"},
        )
        os.close(theirs)
        shown = terminal.read(65_536)
    assert (ended.returncode, ended.stdout) == (0, b"")
    assert b"tiny" in shown
    assert b"100/100 bytes" in shown
    assert shown.endswith(b"\x1b[2K")  # the line is erased
