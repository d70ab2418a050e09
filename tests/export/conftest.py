"""Small random models and run folders, the same on every machine; nothing is trained."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from charlm.data.system import console
from charlm.data.text.normalise import NOTEBOOK
from charlm.data.text.vocabulary import Vocabulary
from charlm.export import cli, weights
from charlm.export import export as export_module
from charlm.export.contract import Metadata
from charlm.export.graphs import step_graph
from charlm.train.config import ModelConfig
from charlm.train.model import CharLSTM
from charlm.train.runs import run_folder

CHARACTERS = " abcdefghijk"
SUMMARY: dict[str, Any] = {
    "training": {
        "recipe": "stateful", "device": "cpu", "batch_size": 4, "seq_len": 32, "lr": 0.01,
        "seed": 0, "epochs": 1, "minutes": None,
    },
    "corpus": {},
    "results": {
        "finished": True, "epochs": 1, "steps": 9, "seconds": 1.0, "test_bits_per_character": 2.5
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Torch's helpers cost more than they give on models this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., CharLSTM]:
    def make(
        layers: int = 2,
        hidden: int = 16,
        scale: float = 1.0,
        seed: int = 0,
        vocabulary: int = len(CHARACTERS),
    ) -> CharLSTM:
        random = np.random.RandomState(seed)
        model = CharLSTM(ModelConfig(vocabulary, hidden, layers))
        for parameter in model.parameters():
            values = random.standard_normal(tuple(parameter.shape)) * scale / np.sqrt(hidden)
            parameter.data = torch.from_numpy(values.astype(np.float32))
        return model.eval()

    return make


@pytest.fixture(scope="session")
def spoil_for_int8() -> Callable[[CharLSTM], CharLSTM]:
    """Make weights of which bytes hold too little, in place, and the float32 model is sound.

    A unit of the last layer is silent, so that its weights could be anything: large ones leave
    the others of their columns next to nothing of a byte.
    """

    def spoil(model: CharLSTM) -> CharLSTM:
        layer, hidden = model.config.layers - 1, model.config.hidden
        getattr(model.lstm, f"bias_ih_l{layer}").data[3 * hidden + 3] = -1e4  # the output gate
        getattr(model.lstm, f"weight_hh_l{layer}").data[:, 3] = 500
        return model

    return spoil


@pytest.fixture(scope="session")
def metadata_of() -> Callable[[CharLSTM], Metadata]:
    def describe(model: CharLSTM) -> Metadata:
        size = model.config.vocabulary
        return Metadata(
            hidden=model.config.hidden,
            layers=model.config.layers,
            vocabulary=Vocabulary(
                CHARACTERS if size == len(CHARACTERS) else map(chr, range(0x4E00, 0x4E00 + size))
            ),
            normalisation=NOTEBOOK,
            initial=tuple((place + 1) / (size * (size + 1) / 2) for place in range(size)),
            weights_sha256=weights.sha256(weights.from_torch(model)),
            summary=SUMMARY,
        )

    return describe


@pytest.fixture(scope="session")
def build(metadata_of: Callable[[CharLSTM], Metadata]) -> Callable[[CharLSTM], bytes]:
    """The serialised step graph of a model."""

    def build_graph(model: CharLSTM) -> bytes:
        return step_graph.build(weights.from_torch(model), metadata_of(model))

    return build_graph


@pytest.fixture(scope="session")
def write_run() -> Callable[[Path, CharLSTM], Path]:
    """Write the run folder of a model, as training would leave it."""

    def write(folder: Path, model: CharLSTM) -> Path:
        folder.mkdir(parents=True)
        config = {
            "format": run_folder.FORMAT,
            "model": {
                "vocabulary": model.config.vocabulary,
                "hidden": model.config.hidden,
                "layers": model.config.layers,
                "dropout": 0.0,
            },
            "normalisation": NOTEBOOK.as_dict(),
            "vocabulary": list(CHARACTERS),
            "initial": list(range(1, len(CHARACTERS) + 1)),
            "versions": {},
            **SUMMARY,
        }
        (folder / run_folder.CONFIG).write_text(json.dumps(config), encoding="utf-8")
        save_file(model.state_dict(), folder / run_folder.WEIGHTS)
        return folder

    return write


@pytest.fixture
def export(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, list[str]]]:
    """Runs `charlm-export` in an empty current folder: its exit code, and its lines on stderr."""
    monkeypatch.setattr(export_module, "STEPS", 30)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, list[str]]:
        capsys.readouterr()
        code = console.exit_code(cli.app, "charlm-export", [str(given) for given in arguments])
        shown = capsys.readouterr()
        assert shown.out == "", "stdout is for text"
        return code, shown.err.splitlines()

    return run


@pytest.fixture
def refuses(export: Callable[..., tuple[int, list[str]]]) -> Callable[..., None]:
    """A user's mistake: `charlm-export` ends with exit code 2 and one line, `saying` what."""

    def check(*arguments: object, saying: str) -> None:
        code, lines = export(*arguments)
        assert code == 2
        assert len(lines) == 1, lines
        assert lines[0].startswith("charlm-export: ")
        assert saying in lines[0]

    return check
