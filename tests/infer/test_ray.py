"""Texts and scores by Ray: those of one machine, whatever dies meanwhile."""

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from charlm.data.system.errors import ModelFileError, ProviderError, SettingsError
from charlm.infer import Generator, Request

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'charlm[ray]'")
pytest.importorskip("ray.data")

from charlm.infer.ray import Cluster, connected  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

Generate = Callable[..., tuple[int, str, list[str]]]
ACTORS = 2


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    """Of two cores, whatever this machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")
        ray.init("local", num_cpus=ACTORS, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


@pytest.fixture
def cli_model(exact_path: Path) -> Path:
    """Texts must be equal to the last character."""
    return exact_path


@pytest.mark.parametrize("form", [["--json"], [], ["--json", "--unordered"]])
def test_the_command_writes_what_one_machine_writes(
    generate: Generate, tmp_path: Path, form: list[str]
) -> None:
    lines: list[Any] = [{"prompt": f"house {n} ", "length": 1 + n} for n in range(30)]
    lines = [each | {"prompt": each["prompt"].replace("0", "o")} for each in lines]
    lines[3] |= {"seed": 9, "stop": ["e", "t"], "top_k": 3}
    lines[7] = {"length": 3}
    lines[9]["prompt"] = "\ud800"
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    options = ["--prompts", path, "--seed", 2, "--unknown", "drop", *form]
    alone, together = generate(*options), generate(*options, "--ray", "auto")
    order = sorted if "--unordered" in form else list
    assert alone[0] == together[0] == 2
    assert order(together[1].splitlines()) == order(alone[1].splitlines())
    assert [line for line in together[2] if ", Ray auto, " not in line] == [
        line for line in alone[2] if ", cpu, " not in line
    ]


def test_rows_keep_their_columns_and_say_why_they_have_no_text(
    exact: Generator, exact_path: Path
) -> None:
    rows = [
        {"id": "a", "prompt": "the ", "sample": 4, "seed": None, "length": None, "stop": None},
        {"id": "b", "prompt": "the ", "sample": None, "seed": 7, "length": 5, "stop": ["e"]},
        {"id": "c", "prompt": "the ", "sample": None, "seed": None, "length": 5, "stop": None},
        {"id": "d", "prompt": "the €", "sample": 1, "seed": 5, "length": 5, "stop": None},
        {"id": "e", "prompt": None, "sample": 1, "seed": None, "length": 5, "stop": None},
        {"id": "f", "prompt": "the ", "sample": 2, "seed": -1, "length": 5, "stop": None},
    ]
    cluster = Cluster(exact_path, 1)
    texts = cluster.generate(ray.data.from_items(rows), length=30, seed=1, temperature=0.7)
    found = {row["id"]: row for row in cluster.score(texts).iter_rows()}
    assert found.keys() == set("abcdef")
    whole = exact.text("the ", length=30, seed=1, sample=4, temperature=0.7)
    assert found["a"]["text"] == whole
    assert (found["a"]["seed"], found["a"]["sample"], found["a"]["finish"]) == (1, 4, "length")
    bits = exact.score(whole).bits_per_character
    assert found["a"]["bits_per_character"] == pytest.approx(bits, rel=1e-5)
    short = exact.text("the ", length=5, seed=7, stop="e", temperature=0.7)
    assert (found["b"]["text"], found["b"]["sample"]) == (short, 0)
    assert [found[each]["text"] for each in "cdef"] == [None] * 4
    numbers = [(found[each]["seed"], found[each]["sample"]) for each in "cdef"]
    assert numbers == [(None, None), (5, 1), (None, 1), (None, 2)], "as they were given"
    drawn = {row["id"]: row["error"] for row in texts.iter_rows()}
    assert (drawn["a"], drawn["b"]) == (None, None)
    for each, saying in {"c": "seed", "d": "U+20AC", "e": "prompt", "f": "seed"}.items():
        assert saying in drawn[each]
        assert found[each]["error"] == "no text"
    lines = ray.data.from_items([{"text": "the\nlamp"}, {"text": "the\r\nlamp"}])
    costs = [row["bits_per_character"] for row in cluster.score(lines).take_all()]
    assert costs[0] == costs[1] is not None
    (number,) = cluster.score(ray.data.from_items([{"text": 7}])).take_all()
    assert (number["text"], number["error"]) == (7, "not text: 7")


def test_what_can_not_be_done(
    generate: Generate, damaged_path: Path, exact_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for options, saying in ((["x"], "--prompts"), (["--prompts", "p", "--explain"], "--explain")):
        code, _, (line,) = generate(*options, "--ray", "auto")
        assert (code, saying in line) == (2, True)
    for wrong in ({"actors": 0}, {"threads": 0}, {"provider": "gpu"}):
        with pytest.raises(SettingsError, match=f"`{min(wrong)}` is "):
            Cluster(exact_path, **wrong)
    with pytest.raises(ProviderError, match="no GPU"):
        list(Cluster(exact_path, provider="cuda").batch([Request("a")]))
    with pytest.raises(ModelFileError, match="not finite"):
        list(Cluster(damaged_path, 1).batch([Request("a")]))
    with connected("auto"):
        pass
    assert ray.is_initialized()  # it was not this block that began
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    for nobody in ("127.0.0.1:9", "ray://127.0.0.1:9"):
        with pytest.raises(ProviderError, match=f"`ray` {nobody}: .*refused"), connected(nobody):
            pass


def drawing() -> set[int]:
    """The processes of this test's actors that draw now."""
    listed = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    processes = [line.split(None, 2) for line in listed.stdout.splitlines()]
    family = {str(os.getpid())}
    while more := {pid for pid, parent, _ in processes if parent in family} - family:
        family |= more
    at_work = re.compile(r"ray::MapWorker\(MapBatches\(_Outcomes\)\)\.(?!__init__)")
    return {int(pid) for pid, _, words in processes if pid in family and at_work.match(words)}


def test_no_text_is_lost_doubled_or_changed_where_an_actor_is_killed(
    exact: Generator, exact_path: Path
) -> None:
    """The last test: Ray's word of it comes late, on what pytest takes for standard output."""
    requests = [Request("the ", seed=3, sample=n, length=10_000 + n) for n in range(120)]
    wanted = list(exact.batch(requests))
    killed, ended = list[int](), threading.Event()

    def kill() -> None:
        while not ended.is_set() and not (found := drawing()):
            ended.wait(0.05)
        if not ended.is_set():
            killed.append(min(found))
            os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    assert list(Cluster(exact_path, ACTORS).batch(iter(requests))) == wanted
    ended.set()
    killer.join()
    assert len(killed) == 1
