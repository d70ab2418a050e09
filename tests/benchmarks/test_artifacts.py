"""Derived files: each made or its reason left, and random models that are whole models."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from charlm.benchmarks.harness import artifacts
from charlm.benchmarks.harness.artifacts import ModelInfo
from charlm.benchmarks.harness.settings import (
    LITERT_STEP,
    MODEL,
    PROBE,
    WEIGHTS,
    CaseFailedError,
    CaseSettings,
)
from charlm.infer.model.open import open_model


def test_what_fails_leaves_its_reason_and_the_others_are_made(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    artifacts.write(model_file, tmp_path, (PROBE, WEIGHTS))
    settings = CaseSettings(str(model_file), str(tmp_path))
    assert settings.artifact(WEIGHTS).is_file()
    with pytest.raises(CaseFailedError, match="no-such-compiler"):
        settings.artifact(PROBE)
    with pytest.raises(CaseFailedError, match="not made"):
        settings.artifact("hidden-7")


def test_a_random_model_has_its_size_and_the_vocabulary_of_the_first(
    model_file: Path, tmp_path: Path
) -> None:
    artifacts.prepare(model_file, tmp_path, ("hidden-16",))
    folder = tmp_path / "hidden-16"
    info = artifacts.read_info(folder)
    assert (info.hidden, info.layers) == (16, 1)
    model = open_model(folder / MODEL, "cpu", 1)
    first = open_model(model_file, "cpu", 1).metadata
    assert model.metadata.vocabulary.characters == first.vocabulary.characters
    with np.load(folder / WEIGHTS) as arrays:
        assert arrays["lstm.weight_hh_l0"].shape == (64, 16)
        assert np.ptp(arrays["head.weight"]) > 0


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None, reason="tensorflow is installed"
)
def test_without_tensorflow_its_graph_says_so(model_file: Path, tmp_path: Path) -> None:
    artifacts.write(model_file, tmp_path, (LITERT_STEP,))
    with pytest.raises(CaseFailedError, match="tensorflow is not installed"):
        CaseSettings(str(model_file), str(tmp_path)).artifact(LITERT_STEP)


def test_a_model_that_can_not_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CaseFailedError, match=r"absent\.onnx"):
        artifacts.prepare(tmp_path / "absent.onnx", tmp_path)


def test_a_characters_arithmetic() -> None:
    info = ModelInfo("m.onnx", 1, "0", hidden=192, layers=1, vocabulary=62)
    assert info.flops == 2 * (192 * 768 + 192 * 62) == 318_720
    deep = ModelInfo("m.onnx", 1, "0", hidden=10, layers=3, vocabulary=5)
    assert deep.products == ((10, 40), (20, 40), (20, 40), (10, 5))
