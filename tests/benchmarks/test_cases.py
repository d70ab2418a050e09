"""The procedures compute the same thing: numbers, not time."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from charlm.benchmarks import artifacts, limits, timing
from charlm.benchmarks.lineup import CASES, LIMITS
from charlm.benchmarks.settings import PROMPT, CaseFailedError, CaseSettings
from charlm.benchmarks.worker import load

torch = pytest.importorskip("torch")
from charlm.benchmarks.cases import torch_window  # noqa: E402
from charlm.benchmarks.cases.common import load_weights  # noqa: E402
from charlm.benchmarks.cases.torch_model import torch_model  # noqa: E402

KERAS = """
import json, sys
import keras, numpy as np
from charlm.benchmarks.cases import common, keras_window
from charlm.benchmarks.settings import CaseSettings
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
        load(f"charlm.benchmarks.cases.{name}")(case_settings)(60)
        for name in ("torch_window", "onnx_window")
    }
    assert len(texts) == 1
    assert len(texts.pop()) == 60


def test_the_step_loops_draw_the_same_text(case_settings: CaseSettings) -> None:
    texts = {
        load(f"charlm.benchmarks.cases.{name}")(case_settings)(60)
        for name in ("torch_step", "charlm_step")
    }
    assert len(texts) == 1
    assert len(texts.pop()) == 60


def test_a_case_goes_on_where_its_last_trial_stopped(case_settings: CaseSettings) -> None:
    prepare = load("charlm.benchmarks.cases.charlm_step")
    run = prepare(case_settings)
    assert run(7) + run(5) == prepare(case_settings)(12)


def test_many_streams_begin_with_the_single_one(case_settings: CaseSettings) -> None:
    steps: Any = load("charlm.benchmarks.cases.charlm_samples")(case_settings)(20)
    single = load("charlm.benchmarks.cases.charlm_step")(case_settings)(20)
    characters = sorted(set(PROMPT))
    assert "".join(characters[step[0]] for step in steps) == single
    assert all(step.shape == (64,) for step in steps)


@pytest.mark.parametrize("bound", LIMITS, ids=lambda bound: bound.name)
def test_every_limit_runs(
    bound: Any, case_settings: CaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SIDE", 8)
    assert load(bound.target)(case_settings)(2)


def test_a_characters_arithmetic() -> None:
    info = artifacts.ModelInfo("m.onnx", 1, "0", hidden=192, layers=1, vocabulary=62)
    assert info.flops == 2 * (192 * 768 + 192 * 62) == 318_720
    deep = artifacts.ModelInfo("m.onnx", 1, "0", hidden=10, layers=3, vocabulary=5)
    assert deep.products == ((10, 40), (20, 40), (20, 40), (10, 5))


def test_names_are_distinct() -> None:
    names = [each.name for each in (*CASES, *LIMITS)]
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
    (tmp_path / "failure.txt").write_text("onnx is not installed", encoding="utf-8")
    with pytest.raises(CaseFailedError, match=r"window\.onnx: onnx is not installed"):
        replace(case_settings, artifacts=str(tmp_path)).artifact(artifacts.WINDOW)
