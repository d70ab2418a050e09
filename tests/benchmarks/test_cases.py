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

from charlm.benchmarks.harness import artifacts, timing
from charlm.benchmarks.harness.settings import PROBE, PROMPT, CaseFailedError, CaseSettings, Run
from charlm.benchmarks.harness.worker import load
from charlm.benchmarks.lineup import LIMITS
from charlm.data.system.errors import CharlmError

torch = pytest.importorskip("torch")
from charlm.benchmarks.cases import ours, probe, pytorch  # noqa: E402
from charlm.benchmarks.cases.common import load_weights, lstm_layers  # noqa: E402
from charlm.train.config import ModelConfig  # noqa: E402
from charlm.train.model import CharLSTM  # noqa: E402

CASES = "charlm.benchmarks.cases"
COMPILED = """
import json, sys
from charlm.benchmarks.cases.pytorch import compiled_step
from charlm.benchmarks.harness.settings import CaseSettings
print(json.dumps(compiled_step(CaseSettings.from_json(sys.argv[1]))(60)))
"""
KERAS = """
import json, sys
import keras, numpy as np
from charlm.benchmarks.cases import common, keras as case
from charlm.benchmarks.harness.settings import CaseSettings
arrays, window, characters = common.load_weights(CaseSettings.from_json(sys.argv[1]))
model = case.build(keras, arrays, len(window))
one_hot = np.eye(len(characters))[window][None]
print(json.dumps(model.predict(one_hot, verbose=0)[0].tolist()))
"""


def stepped(settings: CaseSettings) -> npt.NDArray[np.float32]:
    """Logits of `CharLSTM.step` after the first window, from a zero state."""
    arrays, window, _ = load_weights(settings)
    size, hidden = arrays["head.weight"].shape
    model = CharLSTM(ModelConfig(size, hidden, len(lstm_layers(arrays))))
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    assert window.shape == (40,)
    state = model.zero_state(1)
    with torch.no_grad():
        for token in window:
            logits, state = model.step(torch.tensor([token]), state)
    return np.asarray(logits.numpy())


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


def run_of(case: str, settings: CaseSettings) -> Run:
    """The `Run` of a case, where its library is installed."""
    needed = {"openvino": ["openvino"], "litert": ["ai_edge_litert", "tensorflow"]}
    for module in needed.get(case.partition(":")[0], []):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    run: Run = load(f"{CASES}.{case}")(settings)
    return run


@pytest.mark.parametrize("case", ["ours:stream", "pytorch:step", "openvino:step", "litert:step"])
def test_the_step_loops_draw_the_same_text(case: str, case_settings: CaseSettings) -> None:
    wanted: Any = ours.step(case_settings)(60)
    assert len(wanted) == 60
    assert run_of(case, case_settings)(60) == wanted


@pytest.mark.parametrize("case", ["pytorch:step", "openvino:step", "litert:step"])
def test_many_streams_of_other_libraries_draw_the_same_texts(
    case: str, case_settings: CaseSettings
) -> None:
    settings = replace(case_settings, batch=5)
    np.testing.assert_array_equal(run_of(case, settings)(30), ours.step(settings)(30))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_the_compiled_step_draws_the_same_text(case_settings: CaseSettings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMPILED, case_settings.to_json()],
        capture_output=True, text=True, check=True,
        env=os.environ | {"TORCHINDUCTOR_COMPILE_THREADS": "1"},
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1]) == ours.step(case_settings)(60)


def test_without_a_compiler_the_compiled_step_is_skipped_with_the_reason(
    case_settings: CaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(CaseFailedError, match=r"needs a C\+\+ compiler"):
        pytorch.compiled_step(case_settings)


def test_a_case_goes_on_where_its_last_trial_stopped(case_settings: CaseSettings) -> None:
    for case in (ours.step, ours.stream):
        run: Any = case(case_settings)
        assert run(7) + run(5) == case(case_settings)(12)


def test_many_streams_begin_with_the_single_one(case_settings: CaseSettings) -> None:
    steps: Any = ours.step(replace(case_settings, batch=6))(20)
    characters = sorted(set(PROMPT))
    assert "".join(characters[step[0]] for step in steps) == ours.step(case_settings)(20)
    assert all(step.shape == (6,) for step in steps)


@pytest.mark.parametrize("path", ["steps", "blocks", "native"])
def test_every_path_draws_what_the_step_loop_draws(path: str, case_settings: CaseSettings) -> None:
    settings = replace(case_settings, path=path, batch=3, steps=8)
    run: Any = ours.engine(settings)
    found = np.concatenate([run(20), run(9)], axis=1)
    wanted: Any = ours.step(settings)(29)
    np.testing.assert_array_equal(found, np.array(wanted).T)


@pytest.mark.parametrize(
    ("path", "precision", "said"),
    [("blocks", "int8", "int8"), ("auto", "fp16", "fp16"), ("odd", "float32", "odd")],
)
def test_a_path_that_charlm_lacks_is_named(
    path: str, precision: str, said: str, case_settings: CaseSettings
) -> None:
    with pytest.raises(CharlmError, match=said):
        ours.engine(replace(case_settings, path=path, precision=precision))


def test_a_batch_draws_as_many_characters_as_it_is_asked_for(case_settings: CaseSettings) -> None:
    outcomes: Any = ours.batch(replace(case_settings, batch=4))(30)
    assert [len(outcome.text) for outcome in outcomes] == [30] * 4
    assert outcomes[0].text == ours.step(case_settings)(30)


@pytest.mark.parametrize("count", [1, 20, 99, 100, 101, 250])
def test_scoring_takes_the_characters_it_is_asked_for(
    count: int, case_settings: CaseSettings
) -> None:
    found: Any = ours.score(case_settings, length=100)(count)
    assert found.characters == count


def test_scoring_in_segments_takes_them_too(case_settings: CaseSettings) -> None:
    found: Any = ours.score_parallel(case_settings)(1000)
    assert found.characters == 1000


@pytest.mark.parametrize("bound", LIMITS, ids=lambda bound: bound.name)
def test_every_limit_runs(bound: Any, case_settings: CaseSettings) -> None:
    load(bound.target)(case_settings)(2)


def test_the_loop_without_a_runtime_draws(case_settings: CaseSettings, tmp_path: Path) -> None:
    """Compiled for one layer; of a model of two it says so."""
    with pytest.raises(CaseFailedError, match="for one layer"):
        probe.loop(case_settings)
    one_layer = artifacts.ModelInfo("m.onnx", 1, "0", hidden=20, layers=1, vocabulary=9)
    (tmp_path / artifacts.INFO).write_text(json.dumps(asdict(one_layer)), encoding="utf-8")
    probe.build(one_layer, tmp_path / PROBE)
    probe.loop(replace(case_settings, artifacts=str(tmp_path)))(100)


def test_without_a_compiler_the_limits_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    model = artifacts.ModelInfo("m.onnx", 1, "0", hidden=20, layers=1, vocabulary=9)
    with pytest.raises(CaseFailedError, match="install g\\+\\+ or clang"):
        probe.build(model, tmp_path / PROBE)
    monkeypatch.setenv("CXX", sys.executable)
    with pytest.raises(CaseFailedError, match="can't compile the probe"):
        probe.build(model, tmp_path / PROBE)


def test_without_tensorflow_the_notebook_is_skipped_with_the_reason(
    case_settings: CaseSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = "raise ModuleNotFoundError('No module named tensorflow', name='tensorflow')\n"
    (tmp_path / "tensorflow.py").write_text(absent, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    case = timing.Worker("keras_window", f"{CASES}.keras:window", case_settings)
    (found,) = timing.measure([case], 1, 0.1, lambda line: None)
    assert found.skipped == "tensorflow is not installed; run: pip install 'charlm[bench]'"
