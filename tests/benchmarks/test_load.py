"""The load test of `charlm serve`: it loses no text, and sees one that is another."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

from charlm.benchmarks.harness.machine import Machine
from charlm.benchmarks.load.report import JSON, MARKDOWN, LoadReport, write
from charlm.benchmarks.load.server import serving
from charlm.benchmarks.load.trials import LoadCase, half_load, measure
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


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(SettingsError, match=r"can.t read nowhere\.onnx"), serving("nowhere.onnx"):
        pass
