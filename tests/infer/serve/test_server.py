"""A server as a process: through sockets, by the clients that people use."""

import concurrent.futures
import contextlib
import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from charlm.infer.generator import Generator
from charlm.infer.request import Request
from charlm.infer.serve.http.process import DESCRIPTOR, HttpServer, open_socket
from charlm.infer.serve.service import Service
from charlm.infer.serve.settings import Limits
from tests.infer.serve.conftest import Process

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def post(server: Process, path: str, body: Any, key: str = "") -> Any:
    """What the server answers, as JSON."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    asked = urllib.request.Request(server.url + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.load(answer)


def test_each_text_is_its_own_whoever_else_is_served(live: Process, exact: Generator) -> None:
    requests = [
        Request("the " * (1 + place % 3), length=1 + 37 * (place % 7), seed=place % 5,
                temperature=(0.5, 1.0)[place % 2], top_k=(0, 5)[place % 3 > 1],
                stop=("", "e")[place % 4 == 3] or ())
        for place in range(60)
    ]  # fmt: skip

    def ask(request: Request) -> str:
        body = {"prompt": request.prompt, "max_tokens": request.length, "seed": request.seed,
                "temperature": request.temperature, "top_k": request.top_k,
                "stop": list(request.stops), "stream": request.seed % 2 == 0}  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=60)
        connection.request("POST", "/v1/completions", json.dumps(body),
                           {"Content-Type": "application/json"})  # fmt: skip
        content = connection.getresponse().read().decode()
        connection.close()
        if not body["stream"]:
            return str(json.loads(content)["choices"][0]["text"])
        chunks = [json.loads(each[6:]) for each in content.split("\n\n")[:-2]]
        return "".join(each["choices"][0]["text"] for each in chunks)

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        found = list(pool.map(ask, requests))
    assert found == [exact.text(each.prompt, length=each.length, seed=each.seed, top_k=each.top_k,
                                temperature=each.temperature, stop=each.stop)
                     for each in requests]  # fmt: skip


def test_openais_own_client(live: Process, exact: Generator) -> None:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as client:
        assert [each.id for each in client.models.list()] == ["exact"]
        wanted = exact.text("the ", length=2000, seed=1)
        # As LangChain and litellm ask, which use this client.
        asked: dict[str, Any] = {"model": "exact", "prompt": "the ", "max_tokens": 2000, "seed": 1,
                                 "temperature": 1, "top_p": 1, "n": 1, "frequency_penalty": 0,
                                 "presence_penalty": 0, "logit_bias": {}}  # fmt: skip
        found = client.completions.create(**asked)
        assert (found.choices[0].text, found.choices[0].finish_reason) == (wanted, "length")
        assert found.usage.completion_tokens == 2000
        options = {"include_usage": True}
        stream = client.completions.create(**asked, stream=True, logprobs=1, stream_options=options)
        *chunks, last = list(stream)
        assert "".join(each.choices[0].text for each in chunks) == wanted
        assert len(chunks[0].choices[0].logprobs.token_logprobs) == len(chunks[0].choices[0].text)
        assert last.usage.completion_tokens == 2000
        ours = client.completions.create(
            model="exact", prompt="the ", max_tokens=5, extra_body={"return_state": True}
        )
        assert ours.choices[0].state
        with pytest.raises(openai.NotFoundError, match="there is no model"):
            client.completions.create(model="gpt-4", prompt="a")
        with pytest.raises(openai.BadRequestError, match="use /v1/completions"):
            client.chat.completions.create(model="exact", messages=[])


def test_lm_evals_requests(live: Process, exact: Generator) -> None:
    """Those of lm-eval 0.4.13, `local-completions`, and how it reads the answers."""
    with urllib.request.urlopen(live.url + "/tokenizer_info") as answer:
        assert "eos_token" in json.load(answer)
    pairs = [("the old ", "house"), ("a lamp ", "in the cellar"), ("b", "c")]
    encoded = []
    for context, continuation in pairs:
        asked = {"prompt": context + continuation, "add_special_tokens": False}
        ids = post(live, "/tokenize", asked)["tokens"]
        assert post(live, "/detokenize", {"tokens": ids})["prompt"] == context + continuation
        encoded.append(ids)
    out = post(live, "/v1/completions", {
        "model": "exact", "prompt": encoded, "temperature": 0, "max_tokens": 1, "logprobs": 1,
        "seed": 1234, "echo": True,
    })  # fmt: skip
    choices = sorted(out["choices"], key=itemgetter("index"))
    for choice, (context, continuation) in zip(choices, pairs, strict=True):
        start = len(context)
        logprobs = choice["logprobs"]["token_logprobs"][start:-1]
        top = choice["logprobs"]["top_logprobs"][start:-1]
        greedy = all(own == max(each.values()) for own, each in zip(logprobs, top, strict=True))
        wanted = exact.log_probabilities(context + continuation)[start:]
        assert sum(logprobs) == pytest.approx(float(wanted.sum()), abs=1e-3)
        likely = exact.text(context, length=len(continuation), temperature=0)
        assert greedy == (likely == continuation)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(live: Process, exact: Generator) -> None:
    body = {"prompt": "the ", "max_tokens": 40, "seed": 1, "stream": True}
    done = subprocess.run(
        ["curl", "-sN", f"{live.url}/v1/completions", "--json", json.dumps(body)],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    *chunks, end, _ = done.stdout.split("\n\n")
    assert end == "data: [DONE]"
    text = "".join(json.loads(each[6:])["choices"][0]["text"] for each in chunks)
    assert text == exact.text("the ", length=40, seed=1)


def figure(server: Process, name: str) -> float:
    with urllib.request.urlopen(server.url + "/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))


def until(true: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def hung_up(server: Process, stream: bool, **asked: Any) -> socket.socket:
    """A connection that asks for more than anyone reads."""
    body = json.dumps({"prompt": "a", "max_tokens": 1 << 40, "n": 4, "stream": stream, **asked})
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    made = socket.create_connection(("127.0.0.1", server.port))
    made.sendall(f"{head}Content-Type: application/json\r\n\r\n{body}".encode())
    return made


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_rows(live: Process, stream: bool) -> None:
    connections = [hung_up(live, stream) for _ in range(5)]  # more than there are rows
    until(lambda: figure(live, "charlm_streams") + figure(live, "charlm_queue") == 20)
    for each in connections:
        each.close()
    until(lambda: figure(live, "charlm_streams") + figure(live, "charlm_queue") == 0)
    assert post(live, "/v1/completions", {"prompt": "a"})["usage"]["completion_tokens"] == 16


def test_broken_requests_and_half_closed_sockets(live: Process) -> None:
    for given in (
        b"\x16\x03\x01",
        b"GET\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{",
    ):
        with socket.create_connection(("127.0.0.1", live.port)) as made:
            made.sendall(given)
            made.shutdown(socket.SHUT_WR)
            made.settimeout(20)
            while made.recv(1 << 16):
                pass
    assert post(live, "/v1/completions", {"prompt": "a"})["usage"]["completion_tokens"] == 16


def test_connections_that_stall_hold_nothing(exact: Generator) -> None:
    """Neither one that asks no further, also after a request, nor an answer that nobody reads."""
    service = Service({"exact": exact}, Limits(arrival=1))
    with open_socket("127.0.0.1", 0, 60) as listening, contextlib.ExitStack() as stack:
        server = HttpServer(service, "ready")
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()

        def ask(head: str, body: str = "") -> socket.socket:
            made = socket.create_connection(listening.getsockname()[:2], 20)
            made.sendall(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            return stack.enter_context(made)

        body = {"prompt": "a" * 1_000_000, "max_tokens": 0, "echo": True, "n": 30}
        large = ask("POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nHost: a",
                    json.dumps(body))  # fmt: skip
        assert large.recv(1)
        stalled = ask("GET /health HTTP/1.1\r\nHost: a")
        assert stalled.recv(1)
        stalled.sendall(b"GET / HTTP/1.1\r\n")
        assert service.active == 1, "it is not done before it is read"
        with contextlib.suppress(ConnectionResetError):
            while stalled.recv(1 << 16):
                pass
        size = 1
        while service.active or size < 30_000_000:
            size += len(large.recv(1 << 20))
        server.should_exit = True
        thread.join()


@posix
def test_many_connections_are_open_where_the_system_lets_them(
    exact_path: Path, started: Callable[..., Process]
) -> None:
    few = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 200))"
    server, found = started(str(exact_path), code=few), []
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            made = socket.create_connection(("127.0.0.1", server.port), 20)
            stack.enter_context(made).sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            found.append(made.recv(12))
            if found[-1] != b"HTTP/1.1 200":
                break
    assert len(found) > 100
    assert found[-1] == b"HTTP/1.1 503", "one too many is told so, not left to wait"


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
         b"10000\r\n" + b" " * (1 << 16) + b"\r\n"),
        (b"GET / HTTP/1.1\r\nX-A: ", b"a" * (1 << 16)),
    ],
    ids=["body", "head"],
)  # fmt: skip
def test_what_has_no_end_is_refused_while_it_comes(live: Process, head: bytes, part: bytes) -> None:
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as made:

        def send() -> None:
            made.sendall(head)
            for _ in range((64 << 20) // len(part)):
                made.sendall(part)

        with pytest.raises(ConnectionError):
            send()


@posix
def test_a_signal_ends_what_runs_and_begins_nothing(
    exact_path: Path, started: Callable[..., Process]
) -> None:
    """A text that ends is given whole, what takes longer is cut off once the time is over."""
    server = started(str(exact_path), "--drain", "5", "--length", str(1 << 40))
    judged = {"prompt": "a" * 1_000_000, "max_tokens": 0, "n": 1, "echo": True, "logprobs": 0}
    with (
        hung_up(server, True),
        hung_up(server, False, **judged),
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        until(lambda: figure(server, "charlm_streams") == 4)
        body = {"prompt": "a", "max_tokens": 100_000}
        long = pool.submit(post, server, "/v1/completions", body)
        until(lambda: figure(server, "charlm_streams") + figure(server, "charlm_queue") == 5)
        server.process.terminate()
        with pytest.raises(urllib.error.HTTPError, match="503"):
            post(server, "/v1/completions", {"prompt": "a"})
        assert long.result()["usage"]["completion_tokens"] == 100_000
        assert server.end() == 0


def test_mistakes_are_one_line(
    live: Process,
    exact_path: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from charlm.data.system import console
    from charlm.infer.cli.serve import app

    folder = tmp_path / "exact"
    folder.mkdir()
    shutil.copy(exact_path, folder / "model.onnx")
    for given, said in (
        (["--port", str(live.port), str(exact_path)], "use; --port 0 takes a free one"),
        (["--port", "0", str(exact_path), str(folder)], "two models are called exact"),
        (["--port", "0", str(tmp_path / "none.onnx")], "none.onnx"),
        (["--port", "0", "--queue", "0"], "--queue is 1 or more"),
        (["--port", "0", "--api-key", ""], "--api-key (or CHARLM_API_KEY) is empty"),
        (["--port", "0", "--host", "256.1.1.1"], "--host 256.1.1.1"),
        (["--port", "0", "--host", ".."], "--host .. is no name of a machine"),
        (["--port", "0", "--host", "a" * 64], "is no name of a machine"),
        (["--port", "0", "--seconds", "3000000"], "--seconds is 1,000,000 at most"),
        (["--port", "0", "--drain", "9" * 400], "--drain is 1,000,000 at most"),
        (["--port", "0", "--api-key", "\udcff"], "the key of the server is not utf-8"),
        (["--port", "65536"], "--port is from 0 to 65535"),
        (["--port", "0", "--streams", str(1 << 30), str(exact_path)], "--width"),
    ):
        assert console.exit_code(app, "charlm-serve", given) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
    monkeypatch.setenv("CHARLM_API_KEY", "")
    assert console.exit_code(app, "charlm-serve", [str(exact_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--api-key (or CHARLM_API_KEY) is empty" in line
    monkeypatch.delenv("CHARLM_API_KEY")
    for descriptor in ("abc", "-1", "9" * 30):
        monkeypatch.setenv(DESCRIPTOR, descriptor)
        assert console.exit_code(app, "charlm-serve", [str(exact_path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{DESCRIPTOR} is for workers" in line


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from charlm.data.system import console, extras
    from charlm.infer.cli.serve import app

    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda _: None)
    assert console.exit_code(app, "charlm-serve", []) == 2
    assert "pip install 'charlm[serve]'" in capsys.readouterr().err


@posix
def test_workers_share_a_port_and_live_again(
    exact_path: Path, exact: Generator, started: Callable[..., Process]
) -> None:
    server = started(str(exact_path), "--workers", "2", "--host", "0.0.0.0", "--api-key", "k")
    server.until(" at http://", 2)
    wanted = exact.text("the ", length=40, seed=1)
    body = {"prompt": "the ", "max_tokens": 40, "seed": 1}

    def ask() -> str:
        return str(post(server, "/v1/completions", body, "k")["choices"][0]["text"])

    assert {ask() for _ in range(8)} == {wanted}
    found = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True,
                           check=True).stdout.split()  # fmt: skip
    assert len(found) == 2
    time.sleep(1)  # one that dies as it begins is not started again at once
    subprocess.run(["kill", "-KILL", found[0]], check=True)
    server.until("has died (-9): started again")
    server.until(" at http://", 3)
    assert {ask() for _ in range(8)} == {wanted}
    server.process.send_signal(signal.SIGINT)
    assert server.end() == 130
