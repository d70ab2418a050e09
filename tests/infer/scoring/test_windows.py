"""Windows: what one may be, texts drawn by them against a loop that reads each again, mistakes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.data import MAX_WINDOW
from charlm.data.system import memory
from charlm.data.system.errors import SettingsError
from charlm.data.text.normalise import NOTEBOOK
from charlm.export import contract, weights
from charlm.export.contract import Metadata
from charlm.export.graphs import step_graph
from charlm.infer.batch.results import Failure, Result
from charlm.infer.cli.gen import trained_window
from charlm.infer.engines import planning
from charlm.infer.engines.planning import Work
from charlm.infer.generator import Generator
from charlm.infer.request import Request, check_window
from charlm.infer.sampling.draw import Sampler, draw_first
from charlm.infer.sampling.filters import Filters
from charlm.infer.sampling.philox import UniformStream


@pytest.mark.parametrize("window", [0, -1, MAX_WINDOW + 1, 1 << 70])
def test_a_window_out_of_range_is_refused_wherever_it_is_given(window: int) -> None:
    saying = rf"`window` is from 1 to 4096 characters, not {window};"
    with pytest.raises(SettingsError, match=saying):
        check_window(window)
    with pytest.raises(SettingsError, match=saying):
        Request("a", window=window)


@pytest.mark.parametrize(
    ("summary", "window"),
    [
        ({"training": {"recipe": "notebook", "seq_len": 40}}, 40),
        ({"training": {"recipe": "notebook", "seq_len": 25}}, 25),
        ({"training": {"recipe": "stateful", "seq_len": 96}}, None),
        ({"training": {"recipe": "notebook"}}, None),
        ({"training": {"recipe": "notebook", "seq_len": "40"}}, None),
        ({"training": {"recipe": "notebook", "seq_len": True}}, None),
        ({"training": {"recipe": "notebook", "seq_len": 0}}, None),
        ({"training": ["notebook"]}, None),
        ({}, None),
    ],
)
def test_a_model_says_what_window_it_was_trained_on(
    small_metadata: Metadata, summary: dict[str, Any], window: int | None
) -> None:
    """Whatever else its summary holds is no error: it is for people."""
    metadata = replace(small_metadata, summary=summary)
    assert trained_window(metadata) == window


Generate = Callable[..., tuple[int, str, list[str]]]
PROMPT = "when i drew nigh the nameless city i knew that it was accursed"


@pytest.fixture
def cli_model(exact_with_siblings: Path) -> Path:
    return exact_with_siblings


def naive(
    generator: Generator,
    prompt: str,
    window: int,
    length: int,
    *,
    seed: int = 3,
    sample: int = 0,
    temperature: float = 1.0,
    filters: Filters | None = None,
) -> str:
    """The notebook's loop: every character reads the whole window again, from a zero state."""
    metadata, session = generator.metadata, generator.model.session
    uniforms = UniformStream(seed, sample).take(length)
    ids = generator.encode(prompt).tolist()
    known = len(ids)
    for uniform in uniforms:
        if not ids:
            initial = np.asarray(metadata.initial, dtype=np.float32)
            ids.append(draw_first(initial, UniformStream(seed, sample), temperature))
            continue
        h = c = np.zeros((1, metadata.layers, metadata.hidden), dtype=np.float32)
        for token in ids[-window:]:
            given = {contract.TOKEN: np.array([token]), contract.H: h, contract.C: c}
            logits, h, c = session.run([contract.LOGITS, contract.H_NEXT, contract.C_NEXT], given)
        ids.append(Sampler(logits, temperature, filters or Filters()).draw_one(uniform))
    return generator.vocabulary.decode(np.array(ids[known:]))


@pytest.mark.parametrize("window", [1, 3, 40])
def test_a_trained_model_draws_what_the_naive_loop_draws(lovecraft: Generator, window: int) -> None:
    found = lovecraft.text(PROMPT, length=70, seed=7, window=window)
    assert found == naive(lovecraft, PROMPT, window, 70, seed=7)


@pytest.mark.parametrize("prompt", ["", "a", "the", "the ", "the c", "the city of many names"])
@pytest.mark.parametrize("window", [1, 4, 40])
def test_prompts_shorter_and_longer_than_the_window(
    exact: Generator, prompt: str, window: int
) -> None:
    wanted = naive(exact, prompt, window, 60)
    assert exact.text(prompt, length=60, seed=3, window=window) == wanted
    endless = exact.stream(prompt, length=0, seed=3, window=window)
    assert "".join(character for character, _ in zip(endless, range(60), strict=False)) == wanted
    assert exact.text(prompt, length=1, seed=3, window=window) == wanted[:1]


def test_settings_mean_what_they_mean_elsewhere(exact: Generator) -> None:
    settings = {"temperature": 0.7, "sample": 5}
    wanted = naive(exact, "the", 6, 80, filters=Filters(9, 0.9, 0.01), **settings)  # type: ignore[arg-type]
    options: dict[str, Any] = {**settings, "top_k": 9, "top_p": 0.9, "min_p": 0.01}
    assert exact.text("the", length=80, seed=3, window=6, **options) == wanted
    greedy = exact.text("the", length=40, window=6, temperature=0)
    assert greedy == naive(exact, "the", 6, 40, temperature=0)
    stop = wanted[20:24]
    found = exact.text("the", length=80, seed=3, window=6, stop=stop, **options)
    assert found == wanted[: wanted.index(stop)]


def test_it_is_the_carried_text_until_the_window_is_full(exact: Generator) -> None:
    carried = exact.text("the", length=80, seed=3)
    found = exact.text("the", length=80, seed=3, window=20)
    shared = 20 - len("the") + 1  # the last of them follows from exactly twenty
    assert found[:shared] == carried[:shared]
    assert found != carried
    assert exact.text("the", length=80, seed=3, window=83) == carried


@pytest.mark.parametrize("wide", [1, 2, 7])
def test_a_batch_of_unlike_requests_gives_each_its_own_text(exact: Generator, wide: int) -> None:
    """Streams enter, leave and change places while the others' windows slide on."""
    prompts = ["", "a", "the city of many names", "é", "the", "a door", ""]
    requests = [
        Request(prompt, 10 + 13 * number, sample=number, seed=3, window=5)
        for number, prompt in enumerate(prompts)
    ]
    found = list(exact.batch(requests, width=wide, work=Work(None, window=5)))
    for number, outcome in enumerate(found):
        assert isinstance(outcome, Result)
        asked = outcome.request
        assert outcome.text == naive(exact, asked.prompt, 5, asked.length, sample=number)


def test_a_batch_has_one_window(exact: Generator) -> None:
    requests = [Request("a", 5, window=5), Request("a", 5), Request("a", 5, window=6)]
    first, *others = exact.batch(requests, work=Work(None, window=5))
    assert isinstance(first, Result)
    for outcome, window in zip(others, (None, 6), strict=True):
        assert isinstance(outcome, Failure)
        assert f"window {window} in a batch whose window is 5" in str(outcome.error)


def test_each_stream_counts_as_many_as_its_states(
    exact: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: None)
    assert planning.checked_width(None, exact.model, window=40) == 256 // 40
    assert planning.checked_width(None, exact.model, window=4096) == 1
    assert planning.checked_width(1638, exact.model, window=40) == 1638
    with pytest.raises(SettingsError, match="`width` is from 1 to 1638 with `window` 40, not 1639"):
        exact.batch([], width=1639, work=Work(None, window=40))
    monkeypatch.setattr(
        memory, "memory_bytes", lambda: 3 * planning.stream_bytes(exact.model, window=40)
    )
    with pytest.raises(SettingsError, match="holds 3 streams of this model with `window` 40 at"):
        exact.batch([], width=4, work=Work(None, window=40))


def test_the_command_draws_by_windows(generate: Generate, exact: Generator) -> None:
    wanted = [naive(exact, "the city", 5, 40, sample=stream) for stream in range(3)]
    options = ("--window", 5, "--length", 40, "--seed", 3)
    assert generate("the city", *options)[1] == f"the city{wanted[0]}\n"
    assert generate("the?city", *options, "--unknown", " ")[1] == f"the city{wanted[0]}\n"
    several = generate("the city", *options, "--samples", 3, "--no-echo")[1]
    assert several == "\n\n".join(wanted) + "\n"
    objects = generate("the city", *options, "--samples", 3, "--json")[1].splitlines()
    assert [json.loads(line)["text"] for line in objects] == wanted
    assert [json.loads(line)["window"] for line in objects] == [5] * 3
    Path("prompts.txt").write_text("the city\n\nthe\n", encoding="utf-8")
    wanted[1:] = [naive(exact, "", 5, 40, sample=1), naive(exact, "the", 5, 40, sample=2)]
    found = generate("--prompts", "prompts.txt", *options, "--no-echo", "--width", 2)[1]
    assert found == "\n\n".join(wanted) + "\n"


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["--window", "0"], "--window is from 1 to 4096 characters, not 0;"),
        (["--window", "-3"], "--window is from 1 to 4096 characters, not -3;"),
        (["--window", "99999999999999999999"], "--window is from 1 to 4096 characters, not 9999"),
        (["--window", "0", "--samples", "2"], "--window is from 1 to 4096 characters, not 0;"),
        (["--window", "many"], "--window"),
        (["--window", "40", "--precision", "int8"], "--window is stepped through in float32"),
        (["--window", "40", "--precision", "half"], "--precision is one of"),
        (["--window", "4096", "--samples", "2", "--width", "17"], "from 1 to 16 with --window"),
    ],
)
def test_a_mistake_is_one_line(generate: Generate, arguments: list[str], saying: str) -> None:
    code, out, err = generate("a", *arguments)
    assert (code, out) == (2, "")
    assert len(err) == 1
    assert saying in err[0]


def test_a_model_of_windows_is_hinted_at_once_and_only_without_one(
    generate: Generate,
    exact_weights: weights.Weights,
    exact_metadata: Metadata,
    tmp_path: Path,
) -> None:
    summary = {"training": {"recipe": "notebook", "seq_len": 40}}
    metadata = replace(exact_metadata, normalisation=NOTEBOOK, summary=summary)
    path = tmp_path / "notebook.onnx"
    path.write_bytes(step_graph.build(exact_weights, metadata))
    for several in ((), ("--samples", 3)):
        options = ("a", "--seed", 1, "--length", 5, *several)
        code, out, err = generate(*options, model=path)
        assert code == 0
        assert [line for line in err if "--window 40" in line] == err[:1]
        assert len(err) == 2
        assert "--window" not in out
        assert generate(*options, "--window", 40, model=path)[2] == err[1:]
