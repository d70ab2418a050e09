"""A server in this process, and one as a process of its own."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

from starlette.testclient import TestClient

from charlm.infer.generator import Generator
from charlm.infer.serve.app import make_app
from charlm.infer.serve.service import Service
from charlm.infer.serve.settings import Limits

Serving = Callable[..., TestClient]


@pytest.fixture(scope="session")
def serving(exact: Generator, small: Generator) -> Iterator[Serving]:
    """Starts servers of two models in this process, each with limits of its own."""
    clients: list[TestClient] = []

    def start(**limits: Any) -> TestClient:
        service = Service({"exact": exact, "small": small}, Limits(**limits))
        client = TestClient(make_app(service), raise_server_exceptions=False)
        client.__enter__()
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.__exit__()


@pytest.fixture(scope="session")
def client(serving: Serving) -> TestClient:
    return serving(length=5000, body=1 << 17)


def complete(client: TestClient, **body: Any) -> dict[str, Any]:
    """What a completion answers, whole."""
    answer = client.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def events(content: str) -> list[dict[str, Any]]:
    """The chunks of a stream."""
    lines = [each for each in content.split("\n\n") if each]
    assert lines.pop() == "data: [DONE]"
    return [json.loads(each.removeprefix("data: ")) for each in lines]


class Process:
    """`charlm-serve` as a process, at a free port."""

    def __init__(self, *arguments: str, code: str = "") -> None:
        self.lines: list[str] = []
        run = f"{code}\nfrom charlm.infer.cli.serve import main; main()"
        given = ["charlm-serve", *arguments, "--port", "0"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.argv = {given!r}\n{run}"],
            stderr=subprocess.PIPE,
            text=True,
            env={name: each for name, each in os.environ.items() if name != "CHARLM_API_KEY"},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.port = int(re.findall(r"http://.*:(\d+)$", self.until(" at http://"))[0])
        self.url = f"http://127.0.0.1:{self.port}"

    def _read(self) -> None:
        """Its log, or it would stand still once the pipe is full."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())

    def until(self, part: str, count: int = 1) -> str:
        """Wait for so many lines of its log with that; the last of them."""
        end = time.monotonic() + 60
        while len(found := [line for line in list(self.lines) if part in line]) < count:
            assert time.monotonic() < end, "\n".join(self.lines)
            assert self.process.poll() is None or self._reader.is_alive(), "\n".join(self.lines)
            time.sleep(0.02)
        return found[count - 1]

    def end(self) -> int:
        """Wait for its end; its exit code."""
        code = self.process.wait(60)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


@pytest.fixture
def started() -> Iterator[Callable[..., Process]]:
    """Starts servers as processes."""
    processes: list[Process] = []

    def start(*arguments: str, **options: Any) -> Process:
        processes.append(Process(*arguments, **options))
        return processes[-1]

    yield start
    for each in processes:
        if each.process.poll() is None:
            each.process.kill()
            each.end()


@pytest.fixture(scope="session")
def live(exact_path: Path) -> Iterator[Process]:
    """One that tests share."""
    process = Process(str(exact_path), "--streams", "16", "--length", str(1 << 40))
    yield process
    process.process.terminate()
    assert process.end() == 0
