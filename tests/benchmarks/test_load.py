"""The load test of `charlm serve`: it loses no text, and sees one that is another."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

from charlm.benchmarks.harness.machine import Machine
from charlm.benchmarks.load.peer import llama_serving, measure_peer
from charlm.benchmarks.load.report import JSON, MARKDOWN, LoadReport, markdown, write
from charlm.benchmarks.load.server import serving
from charlm.benchmarks.load.trials import HalfLoad, LoadCase, half_load, measure
from charlm.data.system.errors import SettingsError
from charlm.infer.generator import Generator
from charlm.infer.request import Request

STREAMS = LoadCase("streams", 3, 12, 40, True)
MACHINE = Machine("Some CPU", 2, 8 << 30, "Linux", None, {"python": "3.11"})


class Others(Generator):
    """A generator whose first text is another than the server's."""

    def batch(self, requests: Iterable[Any], **how: Any) -> Iterator[Any]:
        first, *others = requests
        return super().batch([Request(first.prompt, length=1, seed=1), *others], **how)


def test_every_text_is_held_against_the_generators_own(tmp_path: Path) -> None:
    generator = Generator.open("lovecraft", "cpu")
    with serving("lovecraft", "--threads", "1") as server:
        whole = measure(LoadCase("whole", 2, 6, 40, False), generator, server, 2)
        streamed = measure(STREAMS, generator, server, 1)
        wrong = measure(STREAMS, Others(generator.model), server, 1)
        half = half_load(STREAMS, generator, server, 128, 1)
    assert (whole.wrong, streamed.wrong, wrong.wrong) == (0, 0, 1)
    assert (len(whole.rounds), half.requests, half.wrong) == (2, 64, 0)
    report = LoadReport(
        "2026-01-02", MACHINE, "lovecraft", ["--threads", "1"], 1, [whole, wrong], half
    )
    write(report, tmp_path / "new")
    page = (tmp_path / "new" / MARKDOWN).read_text(encoding="utf-8")
    assert "`charlm-serve lovecraft --threads 1`" in page
    assert "88 texts were drawn; 1 differed" in page
    assert json.loads((tmp_path / "new" / JSON).read_text())["cases"][1]["wrong"] == 1


LLAMA = """#!{python}
import http.server, json, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.give(b"{{}}")
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        drawn_alike = asked["temperature"] == 1 and asked["top_k"] == asked["min_p"] == 0
        text = "x" * min(30, asked["max_tokens"]) * drawn_alike
        self.give(json.dumps({{"choices": [{{"text": text}}]}}).encode())
    def give(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *said):
        pass
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer).serve_forever()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a program of one script")
def test_llama_cpps_server_is_loaded_beside_ours(tmp_path: Path) -> None:
    program = tmp_path / "llama-server"
    program.write_text(LLAMA.format(python=sys.executable))
    with pytest.raises(SettingsError, match="can't run"), llama_serving(str(program)):
        pass
    program.chmod(0o755)
    case = LoadCase("texts", 2, 4, 30, False, beside=3)
    generator = Generator.open("lovecraft", "cpu")
    with llama_serving(str(program)) as peer, serving("lovecraft") as server:
        result = measure(case, generator, server, 1, peer)
        with pytest.raises(SettingsError, match="gave no text: xxx"):
            measure_peer(peer, 1, 1, 31, False)
    assert [(each.clients, each.requests, len(each.first_ms)) for each in result.peer] == [
        (2, 3, 3)
    ]
    half = HalfLoad(1, 1, 0, (1, 2, 3))
    page = markdown(LoadReport("2026-01-02", MACHINE, "lovecraft", [], 1, [result], half, "1.2"))
    assert "## llama.cpp's server" in page
    assert "Version 1.2" in page
    assert "| texts | 2 | " in page.partition("256 at once")[2]


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(SettingsError, match=r"no model nowhere\.onnx"), serving("nowhere.onnx"):
        pass
