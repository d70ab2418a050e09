"""Who is let in, how much may come, and what is told of it."""

import asyncio
import json
import re
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

from charlm.data.system.errors import ModelFileError
from charlm.infer.generator import Generator
from charlm.infer.request import Request
from charlm.infer.serve import scores
from charlm.infer.serve.drawing import Drawer, StreamedText
from charlm.infer.serve.http.guard import Guard
from charlm.infer.serve.settings import LONG_PROMPT
from tests.infer.serve.conftest import Serving, complete

COMPLETIONS = "/v1/completions"


@pytest.fixture(scope="module")
def locked(serving: Serving) -> TestClient:
    return serving(key="secret", streams=2, queue=2, texts=4, arrival=1, seconds=2, length=1 << 40)


@pytest.fixture
def headers() -> dict[str, str]:
    return {"Authorization": "Bearer secret"}


def test_a_key_is_asked_for(locked: TestClient, headers: dict[str, str]) -> None:
    for path in ("/v1/models", "/v1/models/exact", "/metrics", "/tokenizer_info"):
        for given in ({}, {"Authorization": "Bearer secre"}, {"Authorization": "secret"}):
            answer = locked.get(path, headers=given)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error"]["code"] == "invalid_api_key"
        assert locked.get(path, headers=headers).status_code == 200
    for path in ("/", "/health", "/docs", "/openapi.json", "/static/index.html"):
        assert locked.get(path).status_code == 200, path


def test_what_is_too_much_is_refused(client: TestClient, locked: TestClient) -> None:
    large = {"prompt": "a" * (1 << 17)}
    assert client.post(COMPLETIONS, json=large).status_code == 413

    def unknown_size() -> Iterator[bytes]:
        yield b" " * (1 << 17)
        yield b" "

    answer = client.post(COMPLETIONS, content=unknown_size())
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


def test_log_probabilities_are_bounded(serving: Serving) -> None:
    """Each takes some hundred bytes, and time: of all, before any is found."""
    few = serving(judged=60, all_judged=90)
    asked: dict[str, Any] = {"prompt": "the lamp", "max_tokens": 0, "echo": True, "logprobs": 2}
    error = few.post(COMPLETIONS, json={**asked, "n": 3}).json()["error"]
    assert (error["param"], "72 log-probabilities" in error["message"]) == ("logprobs", True)
    assert few.post(COMPLETIONS, json={**asked, "n": 2}).status_code == 200
    guard: Any = few.app
    with guard._service.judged(60):
        assert few.post(COMPLETIONS, json={**asked, "n": 2}).status_code == 429
    assert few.post(COMPLETIONS, json={**asked, "n": 2}).status_code == 200


def test_a_full_server_says_when_to_come_again(locked: TestClient, headers: dict[str, str]) -> None:
    """And one text without end does not hold its place for longer than a request may take."""
    long = {"prompt": "a", "n": 4, "max_tokens": 1 << 40}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(locked.post, COMPLETIONS, json=long, headers=headers)
        while locked.get("/metrics", headers=headers).text.find("charlm_streams 2.0") < 0:
            assert not running.done()
        answer = locked.post(COMPLETIONS, json={"prompt": "a"}, headers=headers)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert answer.json()["error"]["type"] == "rate_limit_error"
        answer = running.result()
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
    answer = locked.post(COMPLETIONS, json={**long, "stream": True}, headers=headers)
    *_, last = answer.text.split("\n\n")[:-1]
    assert json.loads(last[6:])["error"]["code"] == "timeout"
    assert locked.post(COMPLETIONS, json={"prompt": "a"}, headers=headers).status_code == 200


def test_drawing_that_fails_is_told_and_goes_on_with_others(
    serving: Serving,
    exact: Generator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ModelFileError("its weights are damaged")

    monkeypatch.setattr(exact, "batch", broken)
    monkeypatch.setattr(exact, "read_tokens", broken)
    failing = serving()
    for prompt in ("a", "a" * (LONG_PROMPT + 1)):
        answer = failing.post(COMPLETIONS, json={"prompt": prompt})
        assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
        assert "ModelFileError: its weights are damaged" in capsys.readouterr().err
    monkeypatch.undo()
    assert complete(failing, prompt="a")["usage"]["completion_tokens"] == 16


def test_texts_that_wait_are_forgotten_where_their_clients_leave(exact: Generator) -> None:
    """Or they would pile up behind texts that are long."""
    drawer = Drawer(exact, 1, loop := asyncio.new_event_loop())

    def submitted() -> StreamedText:
        drawer.submit(text := StreamedText(Request("a", length=1 << 40), lambda: None, False))
        return text

    long = submitted()
    while not drawer.running:
        time.sleep(0.01)
    waiting = [submitted() for _ in range(3)]
    known = [weakref.ref(text) for text in waiting]
    assert drawer.waiting == 3
    while waiting:
        drawer.give_up(waiting.pop())
    assert (drawer.waiting, [each() for each in known]) == (0, [None] * 3)
    drawer.give_up(long)
    while drawer.running:
        time.sleep(0.01)
    drawer.close()
    loop.close()


def test_texts_are_scored_no_further_once_their_client_has_left(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for directly, so that it leaves once the first part is read."""
    client, read, left = serving(), list[str](), threading.Event()
    begun = threading.Event()

    def slowly(_: Any, texts: Any, **__: Any) -> Any:
        for chunk in texts[0].chunks:
            read.append(chunk)
            begun.set()
            left.wait()
        return ()

    monkeypatch.setattr(scores, "score_many", slowly)
    incoming = [{"type": "http.request", "body": json.dumps({"input": "a" * 200_000}).encode()}]

    async def receive() -> Any:
        if not incoming:
            await asyncio.to_thread(begun.wait)
        return incoming.pop() if incoming else {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        """Nobody is there to be told."""

    scope = {"type": "http", "method": "POST", "path": "/v1/score", "query_string": b"",
             "headers": [(b"content-type", b"application/json")]}  # fmt: skip
    guard: Any = client.app
    assert client.portal is not None
    client.portal.call(guard, scope, receive, send)
    left.set()
    guard._service._pool.shutdown()
    assert len(read) == 1


def test_a_log_line_and_figures_without_what_was_said(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    found = complete(client, prompt="the secret lamp", max_tokens=30, user="somebody", seed=1)
    (line,) = capsys.readouterr().err.splitlines()
    logged = json.loads(line)
    assert logged | {"status": 200, "texts": 1, "prompt": 15, "characters": 30} == logged
    assert {"time", "id", "method", "path", "seconds", "first", "model"} <= set(logged)
    for told in ("secret", "somebody", found["choices"][0]["text"]):
        assert told not in line
    figures = client.get("/metrics").text
    assert "secret" not in figures
    for name in ("charlm_queue 0.0", 'charlm_characters_total{kind="drawn"}',
                 "charlm_first_character_seconds_count"):  # fmt: skip
        assert name in figures
    client.get("/" + "x" * 50)
    assert "xxx" not in client.get("/metrics").text, "paths that anyone may name are one"


def test_pages_load_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/docs", "/static/index.html"):
        page = client.get(path)
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "http" not in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r'(src|href)="?(https?:)?//', page.text), path
    assert "best_of" in client.get("/docs").text
    document = client.get("/openapi.json").json()
    assert set(document["paths"]["/v1/completions"]["post"]["responses"]) >= {"200", "400", "429"}
    assert client.get("/static/../__init__.py").status_code == 404
    assert client.get("/static/%2e%2e/__init__.py").status_code == 404


def test_a_loopback_server_is_not_reached_by_other_names(serving: Serving) -> None:
    """A page of another host, whose name leads here, would else read what is drawn."""
    local = serving(hosts=("localhost", "::1"))
    for host, status in (("localhost:8000", 200), ("[::1]:8000", 200), ("evil.example", 403)):
        assert local.get("/v1/models", headers={"Host": host}).status_code == status


def test_a_server_that_ends_begins_nothing_new(serving: Serving) -> None:
    ending = serving()
    assert ending.get("/health").json() == {"status": "ok"}
    guard: Any = ending.app
    assert isinstance(guard, Guard)
    guard._service.draining = True
    assert ending.get("/health").status_code == 503
    answer = ending.post(COMPLETIONS, json={})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_a_client_that_reads_nothing_is_given_up(serving: Serving) -> None:
    """Asked for directly: a socket takes a while to fill."""
    client = serving(seconds=1, length=1 << 40)
    body = json.dumps({"max_tokens": 1 << 40, "stream": True}).encode()
    scope = {"type": "http", "method": "POST", "path": COMPLETIONS,
             "headers": [(b"content-type", b"application/json")]}  # fmt: skip
    incoming = [{"type": "http.request", "body": body}]

    async def receive() -> Any:
        return incoming.pop() if incoming else await asyncio.sleep(30)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(30)

    assert client.portal is not None
    client.portal.call(client.app, scope, receive, send)
    while "charlm_streams 0.0" not in client.get("/metrics").text:
        pass


@pytest.mark.parametrize(("limits", "status"), [({"arrival": 1}, 408), ({"bodies": 3}, 429)])
def test_bodies_that_are_slow_or_many(
    serving: Serving, limits: dict[str, int], status: int
) -> None:
    """Asked for directly: no client sends so slowly. What came of them is held no longer."""
    client, sent = serving(**limits), list[dict[str, Any]]()

    async def parts() -> AsyncIterator[dict[str, Any]]:
        yield {"type": "http.request", "body": b"{}  ", "more_body": True}
        await asyncio.sleep(30)

    async def ask() -> None:
        incoming = parts()
        scope = {"type": "http", "method": "POST", "path": COMPLETIONS, "headers": []}

        async def keep(message: Any) -> None:
            sent.append(message)

        await client.app(scope, lambda: anext(incoming), keep)

    asyncio.run(ask())
    assert sent[0]["status"] == status
    assert client.get("/health").status_code == 200
