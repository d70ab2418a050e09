"""The procedures compute the same thing: numbers, not time."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from charlm.benchmarks import artifacts
from charlm.benchmarks.harness import probe, timing
from charlm.benchmarks.harness.settings import PROMPT, CaseFailedError, CaseSettings
from charlm.benchmarks.harness.worker import load
from charlm.benchmarks.lineup import CASES, LIMITS
from charlm.benchmarks.plan import PARTS
from charlm.benchmarks.sweeps import SWEEPS
from charlm.data.system.errors import CharlmError

torch = pytest.importorskip("torch")
from charlm.benchmarks.cases import charlm_score, torch_window  # noqa: E402
from charlm.benchmarks.cases.common import load_weights  # noqa: E402
from charlm.benchmarks.cases.torch_window import torch_model  # noqa: E402

COMPILED = """
import json, sys
from charlm.benchmarks.harness.settings import CaseSettings
from charlm.benchmarks.sweeps import SWEEPS
from charlm.benchmarks.harness.worker import load
from charlm.data.system.errors import CharlmError
prepare = load("charlm.benchmarks.cases.torch_step")
print(json.dumps(prepare(CaseSettings.from_json(sys.argv[1]))(60)))
"""
KERAS = """
import json, sys
import keras, numpy as np
from charlm.benchmarks.cases import common, keras_window
from charlm.benchmarks.harness.settings import CaseSettings
arrays, window, characters = common.load_weights(CaseSettings.from_json(sys.argv[1]))
model = keras_window.build(keras, arrays, len(window))
one_hot = np.eye(len(characters))[window][None]
print(json.dumps(model.predict(one_hot, verbose=0)[0].tolist()))
"""


def stepped(settings: CaseSettings) -> npt.NDArray[np.float32]:
    """Logits of `CharLSTM.step` after the first window, from a zero state."""
    arrays, window, _ = load_weights(settings)
    model = torch_model(arrays, settings)
    assert window.shape == (40,)
    state = model.zero_state(1)
    with torch.no_grad():
        for token in window:
            logits, state = model.step(torch.tensor([token]), state)
    return np.asarray(logits.numpy())


def test_the_torch_window_equals_forty_steps(case_settings: CaseSettings) -> None:
    arrays, window, _ = load_weights(case_settings)
    with torch.no_grad():
        found = torch_window.window_logits(
            torch_model(arrays, case_settings), torch.from_numpy(window)[:, None]
        )
    np.testing.assert_allclose(found.numpy(), stepped(case_settings), rtol=1e-4, atol=1e-4)


def test_the_onnx_window_equals_forty_steps(case_settings: CaseSettings) -> None:
    from charlm.benchmarks.cases.common import session

    _, window, _ = load_weights(case_settings)
    graph = case_settings.artifact(artifacts.WINDOW).read_bytes()
    (found,) = session(graph, case_settings).run(None, {"tokens": window[:, None]})
    np.testing.assert_allclose(found, stepped(case_settings), rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed"
)
def test_the_keras_window_equals_forty_steps(case_settings: CaseSettings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KERAS, case_settings.to_json()],
        capture_output=True, text=True, check=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    logits = stepped(case_settings)[0].astype(np.float64)
    wanted = np.exp(logits - logits.max())
    np.testing.assert_allclose(found, wanted / wanted.sum(), rtol=1e-3, atol=1e-5)


def test_the_windows_draw_the_same_text(case_settings: CaseSettings) -> None:
    texts = {
        load(f"charlm.benchmarks.cases.{name}")(replace(case_settings, path="window"))(60)
        for name in ("torch_window", "onnx_window", "charlm_stream")
    }
    assert len(texts) == 1
    assert len(texts.pop()) == 60


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


LOOPS = [
    ("charlm_stream", "step", True),
    ("torch_step", "step", True),
    ("openvino_step", "step", installed("openvino")),
    ("litert_step", "step", installed("ai_edge_litert") and installed("tensorflow")),
]


@pytest.mark.parametrize(("name", "path", "there"), LOOPS)
def test_the_step_loops_draw_the_same_text(
    name: str, path: str, there: bool, case_settings: CaseSettings
) -> None:
    if not there:
        pytest.skip("its library is not installed")
    settings = replace(case_settings, path=path)
    wanted = load("charlm.benchmarks.cases.charlm_step")(settings)(60)
    assert len(wanted) == 60
    assert load(f"charlm.benchmarks.cases.{name}")(settings)(60) == wanted


@pytest.mark.parametrize(("name", "path", "there"), LOOPS[1:])
def test_many_streams_of_other_libraries_draw_the_same_texts(
    name: str, path: str, there: bool, case_settings: CaseSettings
) -> None:
    if not there:
        pytest.skip("its library is not installed")
    settings = replace(case_settings, path=path, batch=5)
    wanted = load("charlm.benchmarks.cases.charlm_step")(settings)(30)
    found = load(f"charlm.benchmarks.cases.{name}")(settings)(30)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_the_compiled_step_draws_the_same_text(case_settings: CaseSettings) -> None:
    settings = replace(case_settings, path="compiled")
    done = subprocess.run(
        [sys.executable, "-c", COMPILED, settings.to_json()],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    wanted = load("charlm.benchmarks.cases.charlm_step")(case_settings)(60)
    assert json.loads(done.stdout.splitlines()[-1]) == wanted


def test_without_a_compiler_the_compiled_step_is_skipped_with_the_reason(
    case_settings: CaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(CaseFailedError, match=r"needs a C\+\+ compiler"):
        load("charlm.benchmarks.cases.torch_step")(replace(case_settings, path="compiled"))


def test_a_case_goes_on_where_its_last_trial_stopped(case_settings: CaseSettings) -> None:
    for name in ("charlm_step", "charlm_stream"):
        prepare = load(f"charlm.benchmarks.cases.{name}")
        run = prepare(case_settings)
        assert run(7) + run(5) == prepare(case_settings)(12)


def test_many_streams_begin_with_the_single_one(case_settings: CaseSettings) -> None:
    prepare = load("charlm.benchmarks.cases.charlm_step")
    steps: Any = prepare(replace(case_settings, batch=6))(20)
    characters = sorted(set(PROMPT))
    assert "".join(characters[step[0]] for step in steps) == prepare(case_settings)(20)
    assert all(step.shape == (6,) for step in steps)


@pytest.mark.parametrize("path", ["step", "generate"])
def test_every_path_draws_what_the_step_loop_draws(path: str, case_settings: CaseSettings) -> None:
    settings = replace(case_settings, path=path, batch=3, steps=8)
    run = load("charlm.benchmarks.cases.charlm_engine")(settings)
    found = np.concatenate([run(20), run(9)], axis=1)
    wanted = load("charlm.benchmarks.cases.charlm_step")(replace(settings, path="step"))(29)
    np.testing.assert_array_equal(found, np.array(wanted).T)


def test_a_path_without_its_graph_is_named(case_settings: CaseSettings) -> None:
    prepare = load("charlm.benchmarks.cases.charlm_engine")
    with pytest.raises(CharlmError, match="int8"):
        prepare(replace(case_settings, path="generate", precision="int8"))
    with pytest.raises(CharlmError, match="fp16"):
        prepare(replace(case_settings, precision="fp16"))
    with pytest.raises(CaseFailedError, match="charlm has no unheard-of path"):
        prepare(replace(case_settings, path="unheard-of"))


def test_a_batch_draws_as_many_characters_as_it_is_asked_for(case_settings: CaseSettings) -> None:
    outcomes: Any = load("charlm.benchmarks.cases.charlm_batch")(replace(case_settings, batch=4))(
        30
    )
    single = load("charlm.benchmarks.cases.charlm_step")(case_settings)(30)
    assert [len(outcome.text) for outcome in outcomes] == [30] * 4
    assert outcomes[0].text == single


@pytest.mark.parametrize("count", [1, 20, 99, 100, 101, 250])
def test_scoring_takes_the_characters_it_is_asked_for(
    count: int, case_settings: CaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charlm_score, "LENGTH", 100)
    found: Any = charlm_score.prepare(case_settings)(count)
    assert found.characters == count


@pytest.mark.parametrize("bound", LIMITS, ids=lambda bound: bound.name)
def test_every_limit_runs(bound: Any, case_settings: CaseSettings) -> None:
    load(bound.target)(case_settings)(2)


def test_the_loop_without_a_runtime_draws(case_settings: CaseSettings, tmp_path: Path) -> None:
    """Compiled for one layer; of a model of two it says so."""
    prepare = load("charlm.benchmarks.cases.plain_loop")
    with pytest.raises(CaseFailedError, match="for one layer"):
        prepare(case_settings)
    one_layer = artifacts.ModelInfo("m.onnx", 1, "0", hidden=20, layers=1, vocabulary=9)
    (tmp_path / artifacts.INFO).write_text(json.dumps(asdict(one_layer)), encoding="utf-8")
    probe.build(one_layer, tmp_path / artifacts.PROBE)
    prepare(replace(case_settings, artifacts=str(tmp_path)))(100)


def test_without_a_compiler_the_limits_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    model = artifacts.ModelInfo("m.onnx", 1, "0", hidden=20, layers=1, vocabulary=9)
    with pytest.raises(CaseFailedError, match="install g\\+\\+ or clang"):
        probe.build(model, tmp_path / artifacts.PROBE)
    monkeypatch.setenv("CXX", sys.executable)
    with pytest.raises(CaseFailedError, match="can't compile the probe"):
        probe.build(model, tmp_path / artifacts.PROBE)


def test_a_characters_arithmetic() -> None:
    info = artifacts.ModelInfo("m.onnx", 1, "0", hidden=192, layers=1, vocabulary=62)
    assert info.flops == 2 * (192 * 768 + 192 * 62) == 318_720
    deep = artifacts.ModelInfo("m.onnx", 1, "0", hidden=10, layers=3, vocabulary=5)
    assert deep.products == ((10, 40), (20, 40), (20, 40), (10, 5))


def test_names_are_distinct() -> None:
    names = [each.name for each in (*CASES, *LIMITS, *SWEEPS)] + list(PARTS)
    assert len(set(names)) == len(names)


def test_without_tensorflow_the_notebook_is_skipped_with_the_reason(
    case_settings: CaseSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = "raise ModuleNotFoundError('No module named tensorflow', name='tensorflow')\n"
    (tmp_path / "tensorflow.py").write_text(absent, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    case = timing.Worker("keras_window", "charlm.benchmarks.cases.keras_window", case_settings)
    (found,) = timing.measure([case], 1, 0.1, lambda line: None)
    assert found.skipped == "tensorflow is not installed; run: pip install 'charlm[bench]'"


def test_what_could_not_be_made_is_named_with_the_reason(
    case_settings: CaseSettings, tmp_path: Path
) -> None:
    (tmp_path / "window.onnx.reason").write_text("onnx is not installed", encoding="utf-8")
    with pytest.raises(CaseFailedError, match=r"^onnx is not installed$"):
        replace(case_settings, artifacts=str(tmp_path)).artifact(artifacts.WINDOW)
