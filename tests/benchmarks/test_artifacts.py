"""Derived files: each made or its reason left, and random models that are whole models."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from charlm.benchmarks import artifacts
from charlm.benchmarks.harness.settings import CaseFailedError, CaseSettings
from charlm.export.contract import GENERATE
from charlm.infer.model.artifact import open_model


def test_what_fails_leaves_its_reason_and_the_others_are_made(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: artifacts.Source, path: Path) -> None:
        raise ValueError("no luck\nat all")

    monkeypatch.setitem(artifacts.MAKERS, artifacts.WINDOW, fail)
    artifacts.write(model_file, tmp_path, (artifacts.WINDOW, artifacts.WEIGHTS))
    settings = CaseSettings(str(model_file), str(tmp_path))
    assert settings.artifact(artifacts.WEIGHTS).is_file()
    with pytest.raises(CaseFailedError, match=r"^no luck at all$"):
        settings.artifact(artifacts.WINDOW)


def test_what_nobody_asked_for_is_not_there(case_settings: CaseSettings) -> None:
    with pytest.raises(CaseFailedError, match="not made"):
        case_settings.artifact("hidden-7")


def test_a_random_model_has_its_size_and_the_vocabulary_of_the_first(
    model_file: Path, tmp_path: Path
) -> None:
    artifacts.prepare(model_file, tmp_path, (artifacts.sized(16),))
    folder = tmp_path / "hidden-16"
    info = artifacts.read_info(folder)
    assert (info.hidden, info.layers) == (16, 1)
    model = open_model(folder / artifacts.MODEL, "cpu", 1)
    first = open_model(model_file, "cpu", 1).metadata
    assert model.metadata.vocabulary.characters == first.vocabulary.characters
    assert GENERATE in model.siblings
    assert model.siblings.session(GENERATE)
    with np.load(folder / artifacts.WEIGHTS) as arrays:
        assert arrays["lstm.weight_hh_l0"].shape == (64, 16)
        assert np.ptp(arrays["head.weight"]) > 0


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None, reason="tensorflow is installed"
)
def test_without_tensorflow_its_graphs_say_so(model_file: Path, tmp_path: Path) -> None:
    artifacts.write(model_file, tmp_path, (artifacts.LITERT_STEP,))
    with pytest.raises(CaseFailedError, match="tensorflow is not installed"):
        CaseSettings(str(model_file), str(tmp_path)).artifact(artifacts.LITERT_STEP)


def test_a_model_that_can_not_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CaseFailedError, match=r"absent\.onnx"):
        artifacts.prepare(tmp_path / "absent.onnx", tmp_path)
