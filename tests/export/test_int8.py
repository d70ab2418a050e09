"""What int8 costs: every export measures and records it; and exports without charlm's operator."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from charlm.data.errors import ModelFileError
from charlm.export import contract_library, quality
from charlm.export.contract import Metadata
from charlm.export.contract_native import properties_of
from charlm.train.model import CharLSTM

Make = Callable[..., CharLSTM]
Export = Callable[..., tuple[int, list[str]]]

PORTABLE = {"model.onnx", "model.json", "model.generate.onnx", "model.sequence.onnx"}
NOT_BUILT = "the native operator was not built: install charlm again where there is a C++ compiler"


@pytest.fixture(autouse=True)
def _runs(
    export: Export,
    write_run: Callable[[Path, CharLSTM], Path],
    make_model: Make,
    spoil_for_int8: Callable[[CharLSTM], CharLSTM],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that loses little, and one that int8 would spoil, in the current folder."""
    monkeypatch.setattr(quality, "DRAWN_LENGTH", 64)
    write_run(Path("runs/good"), make_model())
    write_run(Path("runs/bad"), spoil_for_int8(make_model(scale=3.0, seed=1)))


def contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}


def metadata_in(name: str) -> Metadata:
    return Metadata.from_properties(properties_of(Path(name).read_bytes(), name), name)


def refused(answer: tuple[int, list[str]], *, saying: str) -> None:
    code, lines = answer
    assert code == 2
    assert len(lines) == 1, lines
    assert saying in lines[0]


def test_it_is_shown_and_stands_in_every_file(export: Export, tiny_run: Path) -> None:
    code, lines = export("model.onnx", "--run", tiny_run)
    assert code == 0
    found = metadata_in("model.onnx").quality
    assert found.keys() == {"int8"}
    costs = found["int8"]
    assert costs["measured_on"] == "4,096 characters that it draws itself"
    assert costs["loss"] == pytest.approx(costs["after"] - costs["before"], abs=2e-5)
    assert 0 < abs(costs["loss"]) < 0.002, "a model that was trained loses little"
    (line,) = (line for line in lines if line.startswith("int8: "))
    shown = [float(number) for number in re.findall(r"-?\d\.\d{4}", line)]
    assert shown == pytest.approx([costs[key] for key in ("after", "before", "loss")], abs=1e-4)
    for name in contents().keys() - {"model.json"}:
        assert metadata_in(name).quality == found


def test_a_text_is_measured_on_where_one_is_given(export: Export) -> None:
    Path("held-out.txt").write_text("A bad cab hid a big kid " * 100, encoding="utf-8")
    given = ("model.onnx", "--run", "runs/good", "--text")
    refused(export(*given, "none.txt"), saying="can't read none.txt")
    assert "model.onnx" not in contents()
    code, lines = export(*given, "held-out.txt")
    assert code == 0
    found = metadata_in("model.onnx").quality["int8"]
    assert found["measured_on"] == "2,400 characters of held-out.txt"
    assert any(line.endswith("(2,400 characters of held-out.txt)") for line in lines)


def test_a_model_that_int8_would_spoil_says_so(export: Export) -> None:
    assert export("model.onnx", "--run", "runs/bad")[0] == 0
    metadata = metadata_in("model.onnx")
    metadata.check_loss("float32")
    with pytest.raises(ModelFileError, match=r"^int8 costs this model 0\.\d{4} bits per character"):
        metadata.check_loss("int8")


@pytest.mark.parametrize(
    "command",
    [
        ["new.onnx", "--run", "runs/bad"],
        ["old.onnx", "--run", "runs/bad"],
        ["new.onnx", "--run", "runs/bad", "--no-siblings"],
        ["--siblings-of", "bad.onnx"],
    ],
)
def test_where_int8_is_asked_for_such_a_model_is_refused(
    export: Export, command: list[str]
) -> None:
    assert export("old.onnx", "--run", "runs/good", "--int8")[0] == 0
    assert export("bad.onnx", "--run", "runs/bad", "--no-siblings")[0] == 0
    before = contents()
    refused(export(*command, "--int8"), saying="bits per character (4,096 characters that it draws")
    assert contents() == before


def test_without_the_operator_a_note_says_what_is_missing(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract_library, "LIBRARY", Path("none"))
    for command in (["model.onnx", "--run", "runs/bad"], ["--siblings-of", "model.onnx"]):
        code, lines = export(*command)
        assert code == 0
        assert not any(line.startswith("int8: ") for line in lines)
        (note,) = (line for line in lines if "int8 not measured" in line)
        assert NOT_BUILT in note
        assert contents().keys() == PORTABLE
        assert metadata_in("model.onnx").quality == {}
    assert export("--verify-only", "model.onnx")[0] == 0
    refused(export("model.onnx", "--run", "runs/bad", "--text", "none.txt"), saying="none.txt")


def test_without_the_operator_its_graph_is_not_proven_and_a_note_says_so(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert export("model.onnx", "--run", "runs/good")[0] == 0
    monkeypatch.setattr(contract_library, "LIBRARY", Path("none"))
    code, lines = export("--verify-only", "model.onnx")
    assert code == 0
    (note,) = (line for line in lines if "native" in line)
    assert note.startswith(f"model.native.onnx not proven: {NOT_BUILT}")
    assert any(line.startswith("model.generate.onnx: ") for line in lines)


def test_weights_that_are_not_finite_are_said_to_be(
    export: Export, write_run: Callable[[Path, CharLSTM], Path], make_model: Make
) -> None:
    model = make_model()
    with torch.no_grad():
        model.head.weight[3, 3] = torch.nan
    write_run(Path("runs/nan"), model)
    refused(export("new.onnx", "--run", "runs/nan"), saying="weights hold numbers that are not")


@pytest.mark.parametrize("built", [True, False])
def test_fp16_is_measured_with_the_operator_and_without(
    export: Export, monkeypatch: pytest.MonkeyPatch, built: bool
) -> None:
    if not built:
        monkeypatch.setattr(contract_library, "LIBRARY", Path("none"))
    assert export("model.onnx", "--run", "runs/good", "--fp16")[0] == 0
    found = metadata_in("model.sequence-fp16.onnx").quality
    assert found.keys() == ({"int8", "fp16"} if built else {"fp16"})


def test_without_the_operator_int8_can_not_be_asked_for(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract_library, "LIBRARY", Path("none"))
    answer = export("model.onnx", "--run", "runs/good", "--int8")
    refused(answer, saying=f"--int8 can't be measured: {NOT_BUILT}")
    assert contents() == {}
