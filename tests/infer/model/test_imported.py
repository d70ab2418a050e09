"""A notebook's Keras model all the way: imported, exported, and generating by its own windows."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("h5py")  # of the extra keras

from charlm.data.system import console
from charlm.export import cli as export_cli
from charlm.infer.cli import gen as cli_gen
from charlm.infer.cli import score as cli_score
from charlm.train.keras import import_cli
from charlm.train.keras.keras_file import read_keras
from charlm.train.runs import run_folder

KERAS = Path(__file__).parents[2] / "train" / "keras"
LENGTH = 60


def test_keras_model_becomes_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At a temperature of next to nothing: what Keras itself has as the likeliest."""
    run, model = tmp_path / "run", tmp_path / "model.onnx"
    brought = [str(KERAS / "notebook-3.h5"), "--corpus", str(KERAS / "corpus.txt")]
    assert console.exit_code(import_cli.app, "", [*brought, "--out", str(run)]) == 0
    assert console.exit_code(export_cli.app, "", [str(model), "--run", str(run)]) == 0
    vocabulary = run_folder.load_run(run).vocabulary
    text = "".join(vocabulary.characters * 3)[:40]
    capsys.readouterr()
    asked = [text, "--model", str(model), "--window", "40", "--length", str(LENGTH)]
    assert console.exit_code(cli_gen.app, "", [*asked, "--temperature", "0", "--seed", "1"]) == 0
    keras = read_keras(KERAS / "notebook-3.h5")
    ids = [*vocabulary.encode(text)]
    for _ in range(LENGTH):
        logits = keras.logits(np.array([ids[-40:]], dtype=np.int64))
        ids.append(int(logits[0].argmax()))
    assert capsys.readouterr().out.rstrip("\n") == vocabulary.decode(np.array(ids))
    scored = ["--model", str(model), "--window", "40", str(KERAS / "corpus.txt")]
    assert console.exit_code(cli_score.app, "", scored) == 0
