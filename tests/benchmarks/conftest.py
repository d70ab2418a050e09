"""A small random model file, what the cases derive from it, and a report with known numbers."""

from pathlib import Path

import numpy as np
import pytest

from charlm.benchmarks import artifacts
from charlm.benchmarks.artifacts import ModelInfo
from charlm.benchmarks.machine import Machine
from charlm.benchmarks.processes import Flatness
from charlm.benchmarks.report import CaseResult, LimitResult, ProcessResult, Report
from charlm.benchmarks.settings import PROMPT, CaseSettings

CHARACTERS = "".join(sorted(set(PROMPT)))


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    from charlm.data.normalise import NOTEBOOK
    from charlm.data.vocabulary import Vocabulary
    from charlm.export import step_graph, weights
    from charlm.export.contract import Metadata
    from charlm.train.config import ModelConfig
    from charlm.train.model import CharLSTM

    random = np.random.RandomState(5)
    model = CharLSTM(ModelConfig(len(CHARACTERS), 12, 2))
    for parameter in model.parameters():
        values = random.standard_normal(tuple(parameter.shape)).astype(np.float32)
        parameter.data = torch.from_numpy(values)
    metadata = Metadata(
        hidden=12,
        layers=2,
        vocabulary=Vocabulary(CHARACTERS),
        normalisation=NOTEBOOK,
        initial=(1 / len(CHARACTERS),) * len(CHARACTERS),
        weights_sha256=weights.sha256(weights.from_torch(model)),
    )
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    path.write_bytes(step_graph.build(weights.from_torch(model), metadata))
    return path


@pytest.fixture(scope="session")
def case_settings(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> CaseSettings:
    folder = tmp_path_factory.mktemp("artifacts")
    artifacts.write(model_file, folder)
    return CaseSettings(str(model_file), str(folder))


@pytest.fixture
def report() -> Report:
    machine = Machine("Some CPU | 9000", 2, 8 << 30, "Linux x86_64", None, {"python": "3.11.7"})
    model = ModelInfo("some.onnx", 831_448, "0123456789abcdef", 192, 1, 62)
    return Report(
        date="2026-01-02",
        machine=machine,
        model=model,
        provider="cpu",
        threads=1,
        pinned=True,
        rounds=3,
        trial_seconds=0.5,
        cases=(
            CaseResult("keras_window", "notebook", "vector", (10.0, 20.0, 16.0), 8, 600 << 20),
            CaseResult("torch_step", "Torch", "vector", skipped="torch is not installed"),
            CaseResult("charlm_step", "charlm", "vector", (30e3, 40e3, 64e3), 20000, 64 << 20),
        ),
        limits=(
            LimitResult("numpy_vector", "NumPy", "vector", (60e3, 50e3, 64e3), 19.0),
            LimitResult("onnx_vector", "ORT", "vector", (90e3, 100e3, 100e3), 32.0),
            LimitResult("numpy_product", "NumPy", "product", skipped="no BLAS"),
        ),
        processes=(
            ProcessResult("import_onnxruntime", "import", None, (), (0.1, 0.2, 0.4), 44 << 20),
            ProcessResult("charlm_gen_100", "gen", None, (0.1,) * 3, (0.15, 0.28, 0.5), 66 << 20),
            ProcessResult("charlm_gen_1", "gen 1", "charlm_step", (0.11, 0.13, 0.12), (0.2,) * 3),
        ),
        pair=("charlm_gen_100", "import_onnxruntime"),
        memory=Flatness(1_000_000, 66 << 20, 66 << 20, 999_000, 67 << 20),
    )
