"""A small random model file, what the cases derive from it, and a report with known numbers."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from charlm.benchmarks.harness import artifacts
from charlm.benchmarks.harness.artifacts import ModelInfo
from charlm.benchmarks.harness.machine import Machine
from charlm.benchmarks.harness.settings import (
    LITERT_STEP,
    PROBE,
    PROMPT,
    WEIGHTS,
    CaseSettings,
)
from charlm.benchmarks.report.report import BenchReport
from charlm.benchmarks.report.results import (
    MANY,
    ONE,
    CaseResult,
    LimitResult,
    ProcessResult,
    QualityResult,
    SweepPoint,
    SweepResult,
    SweepSeries,
)
from tests.support.shared import made_once

CHARACTERS = "".join(sorted(set(PROMPT)))


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    from charlm.data.text.normalise import NOTEBOOK
    from charlm.data.text.vocabulary import Vocabulary
    from charlm.export import weights
    from charlm.export.contract import GENERATE, Metadata, sibling_path
    from charlm.export.graphs import generate_graph, step_graph
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
    laid_out = weights.from_torch(model)
    path.write_bytes(step_graph.build(laid_out, metadata))
    content = generate_graph.build(laid_out, metadata)
    sibling_path(path, GENERATE).write_bytes(content)
    return path


@pytest.fixture(scope="session")
def case_settings(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> CaseSettings:
    names = (WEIGHTS, PROBE)
    litert = importlib.util.find_spec("tensorflow") and importlib.util.find_spec("ai_edge_litert")
    if litert:
        names += (LITERT_STEP,)
    # In a process of its own, as always: TensorFlow warns of what pytest takes for an error.
    folder = made_once(
        tmp_path_factory, "artifacts", lambda folder: artifacts.prepare(model_file, folder, names)
    )
    return CaseSettings(str(model_file), str(folder))


@pytest.fixture
def report() -> BenchReport:
    machine = Machine("Some CPU | 9000", 2, 8 << 30, "Linux x86_64", None, {"python": "3.11.7"})
    model = ModelInfo("some.onnx", 831_448, "0123456789abcdef", 192, 1, 62)
    return BenchReport(
        date="2026-01-02",
        machine=machine,
        model=model,
        provider="cpu",
        threads=1,
        pinned=True,
        rounds=3,
        trial_seconds=0.5,
        cases=(
            CaseResult(
                "keras_window", "notebook", "vector", (10.0, 20.0, 16.0), 8, 600 << 20, job=ONE
            ),
            CaseResult("torch_step", "Torch", "vector", skipped="torch is <not> there", job=ONE),
            CaseResult(
                "charlm_step", "charlm", "vector", (30e3, 40e3, 44e3), 20000, 64 << 20, job=ONE
            ),
            CaseResult(
                "charlm_generate", "charlm, 64 steps", "vector", (60e3, 88e3, 88e3), 20000,
                64 << 20, job=ONE, use="charlm-gen",
            ),
            CaseResult(
                "charlm_int8", "charlm, int8", "vector", (90e3, 120e3, 132e3), 20000, job=ONE,
                use="charlm-gen --precision int8", precision="int8",
            ),
            CaseResult(
                "litert_batch", "LiteRT, 64 texts", "product", (400e3, 404e3, 402e3), job=MANY
            ),
            CaseResult(
                "charlm_batch", "charlm, 64 texts", "product", (300e3, 303e3, 201e3), job=MANY,
                use="charlm-gen --samples 64", batch=64,
            ),
        ),
        limits=(
            LimitResult("read", "reading", "vector", (60e3, 50e3, 64e3), 19.0),
            LimitResult("read_back", "reading back", "vector", (90e3, 100e3, 100e3), 32.0),
            LimitResult("multiply", "multiplying", "product", skipped="no compiler"),
        ),
        processes=(
            ProcessResult("import_onnxruntime", "import", None, (), (0.1, 0.2, 0.4), 44 << 20),
            ProcessResult("charlm_gen_100", "gen", None, (0.1,) * 3, (0.15, 0.28, 0.5), 66 << 20),
            ProcessResult("charlm_gen_1", "gen 1", "charlm_step", (0.11, 0.13, 0.12), (0.2,) * 3),
        ),
        sweeps=(
            SweepResult(
                "sweep_batch", "Speed against batch", "texts in one batch",
                (
                    SweepSeries("charlm_batch", "charlm", (
                        SweepPoint("1", 1.0, (30e3, 33e3)), SweepPoint("64", 64.0, (300e3, 303e3)),
                    )),
                    SweepSeries("torch_batch", "Torch", (
                        SweepPoint("1", 1.0, (10e3, 11e3)), SweepPoint("64", 64.0, (), "no memory"),
                    )),
                    SweepSeries("product", "limit, many texts", (
                        SweepPoint("1", 1.0, (400e3,)), SweepPoint("64", 64.0, (400e3,)),
                    )),
                ),
            ),
        ),
        quality=(
            QualityResult("float32", 1.99, 5000, "held-out.txt"),
            QualityResult("int8", 1.995, 5000, "held-out.txt"),
        ),
    )  # fmt: skip
