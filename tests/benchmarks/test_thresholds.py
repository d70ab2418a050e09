"""The measurements behind the constants of `infer` run on a small model."""

from collections.abc import Callable

import pytest
import torch

from charlm.benchmarks import thresholds
from charlm.data.normalise import NOTEBOOK
from charlm.data.vocabulary import Vocabulary
from charlm.export import weights
from charlm.export.contract import Metadata
from charlm.export.weights import Weights
from charlm.train.config import ModelConfig
from charlm.train.model import CharLSTM

CHARACTERS = " abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def given() -> Weights:
    torch.manual_seed(3)
    return weights.from_torch(CharLSTM(ModelConfig(len(CHARACTERS), hidden=16)))


@pytest.fixture(scope="module")
def metadata(given: Weights) -> Metadata:
    return Metadata(
        hidden=given.hidden,
        layers=1,
        vocabulary=Vocabulary(CHARACTERS),
        normalisation=NOTEBOOK,
        initial=(1 / len(CHARACTERS),) * len(CHARACTERS),
        weights_sha256=weights.sha256(given),
    )


@pytest.mark.parametrize(
    ("measure", "rows"),
    [
        (thresholds.opening, ["steps", "blocks"]),
        (thresholds.block_lengths, ["16", "32", "64", "128", "256", "512", "1024"]),
        (thresholds.int8_streams, ["generate-int8", "generate-int8-ort"]),
        (thresholds.texts, ["sequence", "sequence-batch"]),
        (thresholds.binding, ["arrays passed to run", "bound"]),
        (thresholds.shares, ["one", "two"]),
    ],
)
def test_each_table_has_its_rows(
    measure: Callable[[Weights, Metadata], str],
    rows: list[str],
    given: Weights,
    metadata: Metadata,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thresholds, "ROUNDS", 1)
    monkeypatch.setattr(thresholds, "SECONDS", 1e-6)
    monkeypatch.setattr(thresholds, "AWAKE", 0.0)
    lines = measure(given, metadata).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == rows
    assert all(cell.strip() for line in lines[2:] for cell in line.split("|")[1:-1])
