"""The playground in Chromium: without a server, and through servers that speak OpenAI's API."""

import importlib.util
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from charlm.data.pages.style import BASE
from charlm.export.contract import PLAYGROUND
from charlm.export.hosts.web import RUNTIME, WebPage
from charlm.infer import Generator
from charlm.infer.model.shipped import shipped_model
from charlm.infer.scoring.page_script import STYLE
from tests.support.browser import Browser, chromium, served

ROOT = Path(__file__).parents[3]
ENTER, RIGHT, DOWN, ESCAPE, TAB = "\ue007", "\ue014", "\ue015", "\ue00c", "\ue004"
SETTINGS = {"temperature": 0.7, "seed": 1, "length": 60}

# Functions for all scripts: fill the form, press a button, and wait until the page is idle.
HELPERS = """
const $ = (id) => document.getElementById(id);
const until = async (holds) => {
  for (let n = 0; !holds(); n++) {
    if (n > 1500) throw new Error("nothing happened: " + document.body.innerText);
    await new Promise((later) => setTimeout(later, 10));
  }
};
const idle = () =>
  until(() => !$("generate").disabled && $("halt-write").hidden && $("halt-score").hidden);
const painted = () => new Promise((later) => requestAnimationFrame(() => setTimeout(later)));
const fill = (fields) => {
  for (const [name, value] of Object.entries(fields))
    $("request").elements.namedItem(name).value = value;
};
const texts = () => [...document.querySelectorAll(".sample .text")].map((each) => each.textContent);
const press = async (text, n = 0) => {
  [...document.querySelectorAll("button")].filter((each) => each.textContent === text)[n].click();
  await painted();
  await idle();
  await painted();
};
const write = async (fields, prompt) => {
  await idle();
  fill(fields);
  $("prompt").value = prompt;
  $("generate").click();
  await painted();
  await idle();
  await painted();
  return texts();
};
"""


def run(browser: Browser, script: str, *arguments: object) -> Any:
    return browser.run(HELPERS + script, *arguments)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def without_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    runtime = ROOT / "examples" / "web" / RUNTIME
    if not runtime.exists():
        pytest.skip("not installed: npm install --prefix examples/web")
    folder = tmp_path_factory.mktemp("web") / "page"
    WebPage.of(folder, runtime).write(shipped_model())
    with served(folder) as address:
        yield address


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not importlib.util.find_spec("charlm.infer.cli.serve"):
        pytest.skip("no charlm serve here")
    command = [sys.executable, "-m", "charlm.infer.cli.serve", "lovecraft", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = (re.search(r"http://[\w.:]+", line) for line in process.stderr)
            yield next(each[0] for each in found if each)
        finally:
            process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("host", ["without_server", "real_server"])
def test_the_page_writes_what_charlm_writes(
    browser: Browser, host: str, request: pytest.FixtureRequest
) -> None:
    """Several samples; going on; going back by the keyboard to take another character; scores."""
    address = request.getfixturevalue(host)
    generator = Generator.open(shipped_model(), provider="cpu")
    browser.open(address)
    prompt, fields = "the old house ", {**SETTINGS, "samples": 2, "topP": 0.95}

    found = run(browser, "return await write(...arguments)", fields, prompt)
    settings: Any = {**SETTINGS, "top_p": 0.95}
    assert found == [prompt + generator.text(prompt, **settings, sample=n) for n in (0, 1)]

    reached, said = run(
        browser,
        """
        const reached = document.querySelectorAll(".sample i[tabindex='0']").length;
        return [reached, $("said").textContent];
        """,
    )
    assert (reached, len(said)) == (2, len("Sample 1: \nSample 2: ") + 2 * 60)

    (_, more) = run(browser, "await press('Go on', 1); return texts()")
    whole = generator.text(prompt, **settings | {"length": 120}, sample=1)
    assert more == prompt + whole

    run(browser, "document.querySelectorAll('.sample [tabindex=\"0\"]')[1].focus()")
    browser.press(*[RIGHT] * 9, ENTER)
    (kept, other, card) = run(
        browser,
        """
        const row = document.activeElement;
        const role = $("card").getAttribute("role");
        return [row.tagName, row.querySelector("code").textContent, role];
        """,
    )
    assert (kept, card) == ("BUTTON", "dialog")
    browser.press(ENTER)
    (_, rewound) = run(browser, "await painted(); await idle(); return texts()")
    other = {"space": " "}.get(other, other)
    assert (rewound[: len(prompt) + 10], len(rewound)) == (more[: len(prompt) + 9] + other, 84)
    assert other != whole[9]
    seed = run(browser, "return document.querySelectorAll('.figures')[1].textContent")
    again = generator.text(prompt + whole[:9] + other, **settings | {"seed": int(seed.split()[1])})
    assert rewound == prompt + whole[:9] + other + again
    assert run(browser, "await press('Undo', 1); return texts()")[1] == more

    stopped, ended = run(
        browser,
        """
        fill({ length: 10000, samples: 1 });
        $("generate").click();
        await until(() => !$("halt-write").hidden && document.querySelector(".sample i"));
        $("halt-write").click();
        await idle();
        return [texts()[0].length, $("status").textContent];
        """,
    )
    assert (stopped < 9000, ended) == (True, "Stopped.")

    (figures, levels, hosts) = run(
        browser,
        """
        $("tab-score").click();
        $("text").value = arguments[0];
        $("judge").click();
        await painted(); await idle(); await painted();
        const places = performance.getEntriesByType("resource").map((each) => each.name);
        return [
          document.querySelector("#judged b").textContent,
          [...document.querySelectorAll("#judged i")].map((each) => each.className),
          [...new Set(places.map((place) => new URL(place).origin))],
        ];
        """,
        text := whole * (90 if host == "real_server" else 1),  # in two pieces, the state carried
    )
    assert figures == f"{generator.score(text).bits_per_character:.3f} bits per character"
    assert (len(levels), levels[0], hosts) == (len(text), "read", [address])
    assert levels.count("read") == 1


class Stub(BaseHTTPRequestHandler):
    """Speaks the server's API from fixed data, and keeps what it was sent."""

    protocol_version = "HTTP/1.1"

    def __init__(self, kept: list[Any], *arguments: Any) -> None:
        self.kept = kept
        super().__init__(*arguments)

    def log_message(self, *arguments: object) -> None: ...

    def answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Retry-After", "3")
        self.end_headers()
        self.wfile.write(content)

    def error(self, status: int, message: str) -> None:
        self.answer(
            status, "application/json", json.dumps({"error": {"message": message}}).encode()
        )

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            if self.headers["Authorization"] != "Bearer secret":
                return self.error(401, "a key is needed")
            models = {"data": [{"id": "one"}, {"id": "two"}]}
            return self.answer(200, "application/json", json.dumps(models).encode())
        path = PLAYGROUND / Path(self.path if self.path != "/" else "/index.html").name
        if not path.is_file():
            return self.error(404, "not found")
        kind = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
        return self.answer(200, kind.get(path.suffix, "image/svg+xml"), path.read_bytes())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.kept.append(body)
        if body["prompt"] == "full":
            return self.error(429, "all rows are taken")
        if body["prompt"] == "killed":
            self.close_connection = True
            return self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ndata: ")
        chunks = []
        for index in range(body["n"]):
            logprobs = {
                "tokens": ["a", "\n"],
                "token_logprobs": [-0.1, -5.0],
                "top_logprobs": [{"b": -3.0, "a": -0.1}, {"é": -0.01}],
            }
            choice = {"index": index, "text": "a\n", "logprobs": logprobs, "finish_reason": None}
            last = {"index": index, "text": "", "logprobs": None, "state": f"s{index}"}
            reason = "stop" if body["prompt"] == "ends" else "length"
            chunks += [choice, {**last, "finish_reason": reason}]
        if body["prompt"] == "broken":
            events = [{"choices": chunks[:1]}, {"error": {"message": "the model is damaged"}}]
        else:
            events = [{"choices": [chunk]} for chunk in chunks]
        stream = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        return self.answer(200, "text/event-stream", stream.encode())


def test_what_a_server_is_sent_and_what_it_says(browser: Browser) -> None:
    """A key, settings as OpenAI names them, the state given back, and errors in one line."""
    kept: list[Any] = []
    with served(handler=partial(Stub, kept)) as address:
        browser.open(address)
        models = run(
            browser,
            """
            await until(() => !$("key").hidden);
            const there = { key: "Enter", ctrlKey: true };
            $("prompt").dispatchEvent(new KeyboardEvent("keydown", there)); // nothing can draw yet
            await painted();
            const asked = !$("error").hidden;
            $("key").querySelector("input").value = "wrong";
            $("key").requestSubmit();
            await until(() => !$("error").hidden);
            const said = $("error").textContent;
            $("key").querySelector("input").value = "secret";
            $("key").requestSubmit();
            await idle();
            return [asked, said, [...$("model").options].map((each) => each.textContent)];
            """,
        )
        assert models == [False, "A key is needed.", ["one", "two"]]
        fields = {
            "seed": str(2**64 - 1), "samples": 2, "stop": r"x\n", "topK": 5, "minP": 0.1,
            "temperature": 0,
        }  # fmt: skip
        found = run(browser, "return await write(...arguments)", fields, "p")
        assert found == ["pa\n", "pa\n"]
        assert kept.pop() == {
            "model": "one", "prompt": "p", "max_tokens": 300, "temperature": 0, "top_p": 1,
            "top_k": 5, "min_p": 0.1, "n": 2, "logprobs": 5, "stream": True, "return_state": True,
            "stop": ["x\n"], "seed": 2**64 - 1,
        }  # fmt: skip
        classes = run(
            browser,
            """
            await press("Go on", 1);
            return [...document.querySelectorAll(".sample i")].map((each) => each.className);
            """,
        )
        assert classes == ["b0", "b5 n"] * 3
        assert (kept[0]["prompt"], kept[0]["state"], "seed" in kept[0]) == ("", "s1", False)

        most = run(
            browser,
            """
            await write({ samples: 1, stop: "x" }, "ends");
            fill({ stop: "other" });
            await press("Go on");
            fill({ stop: "", seed: 5 });
            const { fetch } = window;
            let [running, most] = [0, 0];
            window.fetch = async (...asked) => {
              most = Math.max(most, ++running);
              return fetch(...asked).finally(() => running--);
            };
            for (let n = 0; n < 3; n++) $("generate").click(); // each in place of the one before
            await painted();
            await idle();
            window.fetch = fetch;
            return most;
            """,
        )
        assert ([each["prompt"] for each in kept[1:3]], most) == (["ends", "endsa\nx"], 1)

        run(browser, "document.querySelector('.sample [tabindex=\"0\"]').focus()")
        browser.press(ENTER, *[TAB] * 3)
        assert run(browser, "return document.activeElement === $('card').querySelector('button')")
        browser.press(ESCAPE)
        run(browser, "await write({ seed: 1, samples: 2 }, 'p'); await press('Go on', 1)")

        said = run(
            browser,
            """
            const said = [];
            for (const prompt of ["full", "killed", "broken"]) {
              const shown = await write({ samples: 1 }, prompt);
              said.push([$("error").textContent, shown]);
            }
            await write({ seed: "-1" }, "p");
            return [...said, $("error").textContent];
            """,
        )
        before = ["pa\n", "pa\na\n"]
        assert said[0] == ["All rows are taken. Try again in 3 s.", before]
        assert said[1][0].startswith("The server ended the text early")
        assert said[2] == ["The model is damaged.", ["brokena\n"]]
        assert said[3].startswith("The seed is a whole number")


def test_the_colours_are_those_of_all_pages() -> None:
    """Light, then dark."""
    sheets = (PLAYGROUND / "style.css").read_text("utf-8"), BASE, STYLE
    for theme in (0, 1):
        parts = [sheet.split("prefers-color-scheme: dark", 1)[theme] for sheet in sheets]
        own, pages, scores = (dict(re.findall(r"(--[\w-]+): (#\w+);", part)) for part in parts)
        shared = {name: colour for name, colour in own.items() if name in pages | scores}
        assert len(shared) > 12
        assert shared.items() <= (pages | scores).items()
