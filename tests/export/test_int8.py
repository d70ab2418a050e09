"""What int8 costs, which every export measures and records, and fp16, which it does where asked.

And exports without charlm's operator.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from charlm.data.system.errors import ModelFileError
from charlm.export import quality
from charlm.export.contract import Metadata
from charlm.export.contract import native as contract_native
from charlm.export.contract.native import properties_of
from charlm.export.proof.sessions import NativeGraph
from charlm.train.model import CharLSTM

Make = Callable[..., CharLSTM]
Export = Callable[..., tuple[int, list[str]]]
Refuses = Callable[..., None]

PORTABLE = {"model.onnx", "model.json", "model.generate.onnx", "model.sequence.onnx"}
NOT_BUILT = "the native operator was not built: install charlm again where there is a C++ compiler"


@pytest.fixture(autouse=True)
def _runs(
    export: Export,
    write_run: Callable[[Path, CharLSTM], Path],
    make_model: Make,
    spoil_for_int8: Callable[[CharLSTM], CharLSTM],
) -> None:
    """One that loses little, and one that int8 would spoil, in the current folder."""
    write_run(Path("runs/good"), make_model())
    write_run(Path("runs/bad"), spoil_for_int8(make_model(scale=3.0, seed=1)))


def contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}


def metadata_in(name: str) -> Metadata:
    return Metadata.from_properties(properties_of(Path(name).read_bytes(), name), name)


def test_it_is_shown_and_stands_in_every_file(export: Export, tiny_run: Path) -> None:
    code, lines = export("model.onnx", "--run", tiny_run, "--verbose")
    assert code == 0
    found = metadata_in("model.onnx").quality
    assert found.keys() == {"int8"}
    costs = found["int8"]
    assert costs["measured_on"] == "65,536 characters that it draws itself"
    assert costs["loss"] == pytest.approx(costs["after"] - costs["before"], abs=2e-5)
    assert 0 < abs(costs["loss"]) < 0.002, "a model that was trained loses little"
    (line,) = (line for line in lines if line.startswith("int8: "))
    shown = [float(number) for number in re.findall(r"-?\d\.\d{4}", line)]
    assert shown == pytest.approx([costs[key] for key in ("after", "before", "loss")], abs=1e-4)
    for name in contents().keys() - {"model.json"}:
        assert metadata_in(name).quality == found


def test_a_text_is_measured_on_where_one_is_given(export: Export, refuses: Refuses) -> None:
    Path("held-out.txt").write_text("A bad cab hid a big kid " * 100, encoding="utf-8")
    given = ("model.onnx", "--run", "runs/good", "--text")
    refuses(*given, "none.txt", saying="can't read none.txt")
    assert "model.onnx" not in contents()
    code, lines = export(*given, "held-out.txt")
    assert code == 0
    found = metadata_in("model.onnx").quality["int8"]
    assert found["measured_on"] == "2,400 characters of held-out.txt"
    assert any(line.endswith("(2,400 characters of held-out.txt)") for line in lines)
    Path("held-out.txt").write_text("A bad cab hid a big kid " * 100, encoding="utf-16")
    refuses(*given, "held-out.txt", saying="name its --encoding")
    refuses(*given[:3], "--encoding", "utf-16", saying="--encoding is that of --text: name one")
    assert export(*given, "held-out.txt", "--encoding", "utf-16")[0] == 0
    assert metadata_in("model.onnx").quality["int8"] == found


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
    export: Export, refuses: Refuses, command: list[str]
) -> None:
    assert export("old.onnx", "--run", "runs/good", "--int8")[0] == 0
    assert export("bad.onnx", "--run", "runs/bad", "--no-siblings")[0] == 0
    before = contents()
    refuses(*command, "--int8", saying="bits per character (65,536 characters that it draws")
    assert contents() == before


def test_without_the_operator_a_note_says_what_is_missing(
    export: Export, refuses: Refuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract_native, "LIBRARY", Path("none"))
    for command in (["model.onnx", "--run", "runs/bad"], ["--siblings-of", "model.onnx"]):
        code, lines = export(*command)
        assert code == 0
        assert not any(line.startswith("int8: ") for line in lines)
        (note,) = (line for line in lines if "int8 not measured" in line)
        assert NOT_BUILT in note
        assert contents().keys() == PORTABLE
        assert metadata_in("model.onnx").quality == {}
    assert export("--verify-only", "model.onnx")[0] == 0
    refuses("model.onnx", "--run", "runs/bad", "--text", "none.txt", saying="none.txt")


def test_without_the_operator_its_graph_is_not_proven_and_a_note_says_so(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert export("model.onnx", "--run", "runs/good")[0] == 0
    monkeypatch.setattr(contract_native, "LIBRARY", Path("none"))
    code, lines = export("--verify-only", "model.onnx", "--verbose")
    assert code == 0
    (note,) = (line for line in lines if "native" in line)
    assert note.startswith(f"model.native.onnx not proven: {NOT_BUILT}")
    assert any(line.startswith("model.generate.onnx: ") for line in lines)


def test_weights_that_are_not_finite_are_said_to_be(
    refuses: Refuses, write_run: Callable[[Path, CharLSTM], Path], make_model: Make
) -> None:
    model = make_model()
    with torch.no_grad():
        model.head.weight[3, 3] = torch.nan
    write_run(Path("runs/nan"), model)
    refuses("new.onnx", "--run", "runs/nan", saying="holds numbers that are not finite")


@pytest.mark.cuda
def test_fp16_costs_next_to_nothing(export: Export, tiny_run: Path) -> None:
    processors, reason = contract_native.gpu()
    if not processors:
        pytest.skip(reason)
    code, lines = export("model.onnx", "--run", tiny_run, "--fp16")
    assert code == 0
    assert any(line.startswith("fp16: ") for line in lines)
    assert 0 < abs(metadata_in("model.onnx").quality["fp16"]["loss"]) < 0.0005


@pytest.fixture
def int8_for_fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were a GPU that loses in fp16 what int8 loses."""
    monkeypatch.setattr(contract_native, "gpu", lambda: (1, "none but this"))

    def opened(content: bytes, where: str, precision: str) -> NativeGraph:
        return NativeGraph(content, where, precision.replace("fp16", "int8"))

    monkeypatch.setattr(quality, "NativeGraph", opened)


@pytest.mark.usefixtures("int8_for_fp16")
def test_fp16_is_recorded_beside_int8_or_refuses_the_model(
    export: Export, refuses: Refuses
) -> None:
    code, lines = export("model.onnx", "--run", "runs/good", "--fp16")
    assert code == 0
    int8, fp16 = (line for line in lines if " bits per character where float32 has " in line)
    assert fp16 == int8.replace("int8: ", "fp16: ")
    before = contents()
    for name in before.keys() - {"model.json"}:
        costs = metadata_in(name).quality
        assert costs.keys() == {"int8", "fp16"}
        assert costs["fp16"] == costs["int8"]
    for more in ([], ["--no-siblings"]):
        refuses(
            "model.onnx",
            "--run",
            "runs/bad",
            "--fp16",
            *more,
            saying="nothing was written; export it without --fp16",
        )
        assert contents() == before


def test_what_can_not_be_measured_here_can_not_be_asked_for(
    refuses: Refuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract_native, "gpu", lambda: (0, "no NVIDIA driver"))
    refuses(
        "model.onnx",
        "--run",
        "runs/good",
        "--fp16",
        saying="charlm-export: --fp16 can't be measured: no NVIDIA driver",
    )
    monkeypatch.setattr(contract_native, "LIBRARY", Path("none"))
    for precision in ("int8", "fp16"):
        refuses(
            "model.onnx",
            "--run",
            "runs/good",
            f"--{precision}",
            saying=f"--{precision} can't be measured: {NOT_BUILT}",
        )
    assert contents() == {}
