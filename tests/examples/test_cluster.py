"""The example of several servers: one text in turns, whichever server takes each."""

import base64
import importlib.util
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from charlm.infer import Generator, State

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "cluster" / "turns.py"
MODEL = ROOT / "infer" / "models" / "lovecraft.onnx"
SERVER = "charlm.infer.cli.serve"


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator.open(MODEL, "cpu")


class Stub(ThreadingHTTPServer):
    """As much of `charlm serve` as the example needs."""

    def __init__(self, generator: Generator) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                settings = {"seed": body["seed"]} if "seed" in body else {}
                if "state" in body:
                    settings["state"] = State.from_bytes(base64.b64decode(body["state"]))
                stream = generator.stream(body["prompt"], length=body["max_tokens"], **settings)
                text = "".join(stream)
                state = base64.b64encode(stream.state.to_bytes()).decode()
                answer = json.dumps({"choices": [{"text": text, "state": state}]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing."""

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture(scope="module")
def servers(generator: Generator) -> Iterator[list[str]]:
    """The addresses of two."""
    if importlib.util.find_spec(SERVER) and importlib.util.find_spec("fastapi"):
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
        return
    stubs = [Stub(generator) for _ in range(2)]
    for stub in stubs:
        threading.Thread(target=stub.serve_forever, daemon=True).start()
    yield [f"http://127.0.0.1:{stub.server_port}" for stub in stubs]
    for stub in stubs:
        stub.shutdown()
        stub.server_close()


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
