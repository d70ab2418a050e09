"""The example of several servers: one text in turns, whichever server takes each."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from charlm.infer import Generator

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "cluster" / "turns.py"
MODEL = ROOT / "infer" / "models" / "lovecraft.onnx"
SERVER = "charlm.infer.cli.serve"


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator.open(MODEL, "cpu")


@pytest.fixture(scope="module")
def servers() -> Iterator[list[str]]:
    """The addresses of two."""
    pytest.importorskip("fastapi")
    command = [sys.executable, "-m", SERVER, str(MODEL), "--port", "0", "--threads", "1"]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    found = []
    for each in started:
        assert each.stderr is not None
        lines = (re.search(r"http://\S+:\d+", line) for line in each.stderr)
        found.append(next(line[0] for line in lines if line))
    yield found
    for each in started:
        each.kill()
        each.communicate()


def test_a_text_in_turns_is_that_of_one_machine(generator: Generator, servers: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}"
    options = ["--prompt", "the old house ", "--turns", "5", "--length", "30", "--seed", "4"]
    done = subprocess.run(
        [sys.executable, EXAMPLE, servers[0], dead, servers[1], *options],
        capture_output=True,
        text=True,
        check=False,
    )
    text = generator.text("the old house ", length=150, seed=4)
    assert (done.returncode, done.stdout) == (0, f"the old house {text}\n")
    assert f"{dead}: " in done.stderr
