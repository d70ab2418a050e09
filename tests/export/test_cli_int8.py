"""`charlm-export --int8`: what it writes, says and refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from charlm.data import console
from charlm.export import quality, verify, verify_int8
from charlm.export.cli import app
from charlm.export.contract_siblings import INT8_KINDS
from charlm.export.siblings import DEFAULT_KINDS
from charlm.train.model import CharLSTM

Make = Callable[..., CharLSTM]
Write = Callable[[Path, CharLSTM], Path]
Export = Callable[..., tuple[int, list[str]]]

FLOAT32 = {"model.onnx", "model.json", *(f"model.{kind.name}.onnx" for kind in DEFAULT_KINDS)}
INT8 = {f"model.{kind.name}.onnx" for kind in INT8_KINDS}


@pytest.fixture
def export(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Export:
    """Runs `charlm-export` in an empty current folder: its exit code, and its lines on stderr."""
    monkeypatch.setattr(verify, "STEPS", 20)
    monkeypatch.setattr(verify_int8, "STEPS", 20)
    monkeypatch.setattr(quality, "DRAWN_LENGTH", 64)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, list[str]]:
        capsys.readouterr()
        code = console.exit_code(app, "charlm-export", [str(given) for given in arguments])
        shown = capsys.readouterr()
        assert shown.out == "", "stdout is for text"
        return code, shown.err.splitlines()

    return run


@pytest.fixture
def good(write_run: Write, make_model: Make, tmp_path: Path) -> Path:
    return write_run(tmp_path / "runs/good", make_model(scale=3.0))


@pytest.fixture
def bad(
    write_run: Write,
    make_model: Make,
    spoil_for_int8: Callable[[CharLSTM], CharLSTM],
    tmp_path: Path,
) -> Path:
    """A run that int8 would spoil."""
    return write_run(tmp_path / "runs/bad", spoil_for_int8(make_model(scale=3.0, seed=1)))


def files() -> set[str]:
    return {path.name for path in Path().iterdir() if path.is_file()}


def contents() -> dict[str, bytes]:
    return {name: Path(name).read_bytes() for name in files()}


def refused(answer: tuple[int, list[str]], *, saying: str) -> None:
    code, lines = answer
    assert code == 2
    assert len(lines) == 1, lines
    assert saying in lines[0]


def costs(name: str) -> dict[str, object]:
    named = {entry.key: entry.value for entry in onnx.load_model(name).metadata_props}
    found: dict[str, object] = json.loads(named["charlm.quality"])
    return found


def test_int8_siblings_stand_beside_the_others_and_what_they_cost_is_shown(
    export: Export, good: Path
) -> None:
    code, lines = export("model.onnx", "--run", good, "--int8")
    assert code == 0
    assert files() == FLOAT32 | INT8
    (line,) = (line for line in lines if line.startswith("int8: "))
    for name in ("model.generate-int8.onnx", "model.generate-int8-ort.onnx"):
        found = costs(name)
        assert f"{found['after']:.4f} bits per character" in line
        assert f"float32 has {found['before']:.4f}: a loss of {found['loss']:.4f} (" in line
        assert line.endswith("(4,096 characters that it draws itself)")
    shown = lines[lines.index(f"model.sequence-int8.onnx: {size('sequence-int8')} bytes") + 1]
    assert "single steps beside the same int8 arithmetic" in shown


def size(kind: str) -> str:
    return f"{Path(f'model.{kind}.onnx').stat().st_size:,}"


def test_without_the_option_there_is_no_int8(export: Export, good: Path) -> None:
    assert export("model.onnx", "--run", good)[0] == 0
    assert files() == FLOAT32


def test_a_text_is_measured_on_where_one_is_given(
    export: Export, write_run: Write, make_model: Make
) -> None:
    calm = write_run(Path("runs/calm"), make_model())  # loses little on any text
    Path("held-out.txt").write_text("A bad cab hid a big kid " * 100, encoding="utf-8")
    code, lines = export("model.onnx", "--run", calm, "--int8", "--text", "held-out.txt")
    assert code == 0
    assert costs("model.generate-int8.onnx")["measured_on"] == "2,400 characters of held-out.txt"
    assert any(line.endswith("(2,400 characters of held-out.txt)") for line in lines)


def test_a_model_that_int8_would_spoil_is_refused_and_nothing_written(
    export: Export, bad: Path
) -> None:
    refused(
        export("model.onnx", "--run", bad, "--int8"), saying="model.onnx: int8 would take it from "
    )
    assert files() == set()


def test_a_refusal_leaves_what_stood_there_alone(export: Export, good: Path, bad: Path) -> None:
    assert export("model.onnx", "--run", good, "--int8")[0] == 0
    before = contents()
    refused(export("model.onnx", "--run", bad, "--int8"), saying="a loss of 0.01 is allowed")
    assert contents() == before


def test_int8_siblings_of_other_weights_go_when_a_model_is_replaced(
    export: Export, good: Path, bad: Path
) -> None:
    assert export("model.onnx", "--run", good, "--int8")[0] == 0
    assert export("model.onnx", "--run", bad)[0] == 0
    assert files() == FLOAT32


def test_an_existing_model_gets_them_and_is_verified_with_them(export: Export, good: Path) -> None:
    assert export("model.onnx", "--run", good, "--no-siblings")[0] == 0
    before = Path("model.onnx").read_bytes()
    assert export("--siblings-of", "model.onnx", "--int8")[0] == 0
    assert files() == FLOAT32 | INT8
    assert Path("model.onnx").read_bytes() == before
    code, lines = export("--verify-only", "model.onnx")
    assert code == 0
    assert sum("beside the same int8 arithmetic" in line for line in lines) == len(INT8)


def test_a_model_that_was_trained_on_loses_little(export: Export, tiny_run: Path) -> None:
    code, _ = export("model.onnx", "--run", tiny_run, "--int8")
    assert code == 0
    loss = costs("model.generate-int8.onnx")["loss"]
    assert isinstance(loss, float)
    assert abs(loss) < 0.002


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (("model.onnx", "--text", "a.txt"), "--text is what int8 and fp16 are measured on"),
        (("--verify-only", "model.onnx", "--int8"), "--verify-only writes nothing"),
        (("model.onnx", "--int8", "--no-siblings"), "leave out --no-siblings"),
        (("model.onnx", "--int8", "--text", "none.txt"), "can't read none.txt"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    export: Export, good: Path, arguments: tuple[str, ...], saying: str
) -> None:
    refused(export(*arguments), saying=saying)
    assert files() == set()
