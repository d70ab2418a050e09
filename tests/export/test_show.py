"""`charlm show`: what a model or a run is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from charlm.data.system import console
from charlm.export.contract import KEY_STATES
from charlm.export.show import app, describe
from charlm.infer.model.shipped import shipped_model
from charlm.train.model import CharLSTM
from charlm.train.report.subject import about, read_subject

Export = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert console.exit_code(app, "charlm show", list(map(str, arguments))) == 0
        return capsys.readouterr().out

    return run


def test_a_run_and_its_model_are_of_the_same_weights(
    show: Callable[..., str],
    export: Export,
    write_run: Callable[[Path, CharLSTM], Path],
    make_model: Callable[..., CharLSTM],
) -> None:
    run = write_run(Path("runs/first"), make_model())
    assert "exported" in show(run)
    assert export(str(run / "model.onnx"))[0] == 0
    shutil.copy(shipped_model().with_suffix(".generate.onnx"), run / "model.generate.onnx")
    described = [json.loads(show(path, "--json")) for path in (run, run / "model.onnx")]
    assert described[0]["model_file"] == described[1]["path"] == str(run / "model.onnx")
    for key in ("weights_sha256", "vocabulary", "parameters", "results"):
        assert described[0][key] == described[1][key]
    # Of Torch's two biases a layer the graph has one, and in its first layer's table none.
    torch_has = sum(each.numel() for each in make_model().parameters())
    assert described[1]["parameters"] == torch_has - 3 * 4 * 16
    assert described[1]["siblings"] == {
        "model.native.onnx": "of its weights",
        "model.generate.onnx": "of other weights",
        "model.sequence.onnx": "of its weights",
    }
    assert "model.generate.onnx (of other weights)" in " ".join(show(run / "model.onnx").split())


def test_the_report_counts_parameters_as_it_does(tiny_run: Path) -> None:
    said = about(read_subject(tiny_run))["model"]
    assert said.endswith(f", {describe(tiny_run)['parameters']:,} parameters")


def test_a_model_that_ships_by_its_name(show: Callable[..., str]) -> None:
    shown = show("lovecraft")
    assert "1 x LSTM(192), 62 characters, 207,038 parameters" in shown
    assert "lovecraft.generate.onnx, lovecraft.sequence.onnx" in shown
    assert "figures   test bits per character 1.8736" in shown
    assert max(map(len, shown.splitlines()[1:])) <= 80


def test_what_a_stranger_wrote_moves_no_cursor(
    show: Callable[..., str],
    write_run: Callable[[Path, CharLSTM], Path],
    make_model: Callable[..., CharLSTM],
    tmp_path: Path,
) -> None:
    run = write_run(tmp_path / "first", make_model())
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    config["corpus"] = {"files": ["\x1b[2Jbook\n.txt"]}
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shown = show(run)
    assert "\x1b" not in shown
    assert "[2Jbook" in shown


@pytest.mark.parametrize(("name", "saying"), [("nothing", "nothing"), (".", "folder without")])
def test_neither_a_model_nor_a_run(
    name: str,
    saying: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert console.exit_code(app, "charlm show", [name]) == 2
    assert saying in capsys.readouterr().err


def test_a_host_that_knows_no_lstm_carries_the_state() -> None:
    """By `charlm.states` alone: the greedy text of the document on the model file."""
    session = onnxruntime.InferenceSession(shipped_model(), providers=["CPUExecutionProvider"])
    properties = session.get_modelmeta().custom_metadata_map
    states = json.loads(properties[KEY_STATES])
    characters = json.loads(properties["charlm.vocabulary"])
    given = {
        each["input"]: np.full([1 if size == "batch" else size for size in each["shape"]],
                               each["initial"], dtype=each["type"])
        for each in states
    }  # fmt: skip
    text = prompt = "the old house "
    names = [output.name for output in session.get_outputs()]
    for place in range(len(prompt) + 19):
        token = np.array([characters.index(text[place])])
        found = dict(zip(names, session.run(None, {"token": token, **given}), strict=True))
        given = {each["input"]: found[each["output"]] for each in states}
        if place >= len(prompt) - 1:
            text += characters[found["logits"][0].argmax()]
    assert text == prompt + "and the strange ston"
