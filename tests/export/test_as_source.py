"""Exported models as sources of weights for further training."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from charlm.data.system.errors import ModelFileError
from charlm.export.export import Wanted, export_run
from charlm.train.runs import run_folder
from charlm.train.setup.source import Source, read_source

Train = Callable[..., tuple[int, list[str]]]
FAST = ["--epochs", "1", "--batch-size", "4", "--seq-len", "32", "--threads", "1"]


@pytest.fixture(scope="module")
def exported(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "tiny.onnx"
    export_run(tiny_run, path, Wanted(kinds=()))
    return path


@pytest.fixture(scope="module")
def found(exported: Path) -> Source:
    """As `charlm-train` finds it."""
    return read_source(exported)


def test_it_is_the_model_that_was_exported(found: Source, tiny_run: Path) -> None:
    run = run_folder.load_run(tiny_run)
    assert (found.name, found.vocabulary) == ("tiny.onnx", run.vocabulary)
    assert found.normalisation == run.normalisation
    tokens = torch.arange(len(run.vocabulary)).repeat(3)[:, None]
    with torch.no_grad():
        ours, (h, c) = found.model(tokens, found.model.zero_state(1))
        theirs, (own_h, own_c) = run.model(tokens, run.model.zero_state(1))
        assert torch.allclose(found.model.head(ours), run.model.head(theirs), atol=1e-5)
    assert torch.allclose(h, own_h, atol=1e-5)
    assert torch.allclose(c, own_c, atol=1e-5)


def test_the_bias_is_taken_out_of_the_table_again(found: Source, tiny_run: Path) -> None:
    state = found.model.state_dict()
    assert state["lstm.weight_ih_l0"].mean(dim=1).abs().max() < 1e-6
    run = run_folder.load_run(tiny_run).model.state_dict()
    both = run["lstm.bias_ih_l0"] + run["lstm.bias_hh_l0"]
    shared = both + run["lstm.weight_ih_l0"].mean(dim=1)
    assert torch.allclose(state["lstm.bias_ih_l0"], shared, atol=1e-6)
    forget = state["lstm.bias_ih_l0"][16:32].mean()
    assert forget > 0.5, "what a new character finds is not near the forget gate's one"


def test_fine_tuning_from_it(exported: Path, tiny_text: Path, tmp_path: Path, train: Train) -> None:
    code, lines = train(tiny_text, "--init-from", exported, "--out", tmp_path / "run", *FAST)
    assert code == 0
    assert "begins with the weights of tiny.onnx: validation" in lines[1]
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    properties = json.loads(exported.with_suffix(".json").read_text(encoding="utf-8"))
    begun = config["training"]["initialised_from"]
    assert begun == {"name": "tiny.onnx", "sha256": properties["charlm.weights_sha256"]}


def test_a_damaged_file(exported: Path, tiny_text: Path, tmp_path: Path, train: Train) -> None:
    damaged = tmp_path / "damaged.onnx"
    content = bytearray(exported.read_bytes())
    content[len(content) // 3] ^= 64
    damaged.write_bytes(content)
    with pytest.raises(ModelFileError):
        read_source(damaged)
    damaged.write_bytes(b"nothing of the kind")
    code, lines = train(tiny_text, "--init-from", damaged, "--out", tmp_path / "run", *FAST)
    assert (code, len(lines)) == (2, 1)
    assert f"{damaged}: " in lines[0]
    assert not (tmp_path / "run").exists()
