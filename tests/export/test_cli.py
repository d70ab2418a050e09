import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from charlm.export import export as export_module
from charlm.export.contract import Metadata
from charlm.export.export import Wanted, export_run
from charlm.export.graphs import step_graph
from charlm.export.proof import errors
from charlm.infer.model.shipped import shipped_model
from charlm.train.model import CharLSTM
from charlm.train.runs.run_folder import load_run

Make = Callable[..., CharLSTM]
Build = Callable[[CharLSTM], bytes]
Export = Callable[..., tuple[int, list[str]]]
Refuses = Callable[..., None]

SIBLINGS = [Path(f"model.{kind}.onnx") for kind in ("native", "generate", "sequence")]
SET = {"model.onnx", "model.json", *map(str, SIBLINGS)}


@pytest.fixture
def run_folder(write_run: Callable[[Path, CharLSTM], Path], make_model: Make) -> Path:
    """`runs/first` in the current folder."""
    write_run(Path("runs/first"), make_model())
    return Path("runs/first")


def files() -> set[str]:
    return {path.name for path in Path().iterdir()} - {"runs"}


def test_a_trained_run_becomes_a_proven_model(
    export: Export, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "STEPS", 1000)
    code, lines = export("model.onnx", "--run", tiny_run, "--verbose")
    assert code == 0
    assert files() == SET
    size = Path("model.onnx").stat().st_size
    assert lines[0].startswith(f"model.onnx: {size:,} bytes, 2 x LSTM(16), ")
    assert lines[0].endswith(f"proven equal to {tiny_run}")
    assert [line.split(":")[0] for line in lines[1:3]] == [
        "  largest relative error, one step",
        "  largest relative error, 1000 carried steps",
    ]
    shown = [line for line in lines[3:-3] if not line.startswith("  ")]
    assert lines[-3].startswith("int8: ")
    assert shown == [f"{path}: {path.stat().st_size:,} bytes" for path in SIBLINGS]
    steps = ["largest relative error, one step", "largest relative error, 1000 carried steps"]
    assert [line.strip().split(":")[0] for line in lines[4:6]] == steps
    drawn = [line for line in lines if line.startswith("  68,000 characters drawn as due, ")]
    assert len(drawn) == 2
    assert lines[-1] == "next: charlm-gen --model model.onnx 'Once upon a time'"
    properties = {entry.key: entry.value for entry in onnx.load_model("model.onnx").metadata_props}
    metadata = Metadata.from_properties(properties, "model.onnx")
    config = json.loads((tiny_run / "config.json").read_text(encoding="utf-8"))
    assert list(metadata.vocabulary.characters) == config["vocabulary"]
    assert metadata.normalisation.as_dict() == config["normalisation"]
    counts = np.array(config["initial"], dtype=np.float64)
    assert metadata.initial == pytest.approx(counts / counts.sum())
    for part in ("training", "corpus", "results", "versions"):
        assert metadata.summary[part] == config[part]
    bits = config["results"]["test_bits_per_character"]
    assert metadata.summary["results"]["test_bits_per_character"] == bits > 0
    assert Path("model.json").read_text(encoding="utf-8") == metadata.to_json()


def test_an_export_is_three_lines(export: Export, run_folder: Path) -> None:
    code, lines = export("model.onnx")
    assert code == 0
    first, beside, following = lines
    assert first.endswith(f"proven equal to {run_folder}")
    assert all(name in beside for name in SET - {"model.onnx"})
    assert following == "next: charlm-gen --model model.onnx"  # which has other letters
    export_run(load_run(run_folder), "again.onnx", Wanted(kinds=()))  # a run as `train` gives it
    assert Path("again.onnx").read_bytes() == Path("model.onnx").read_bytes()


def test_without_a_run_the_newest_is_exported(
    export: Export,
    run_folder: Path,
    write_run: Callable[[Path, CharLSTM], Path],
    make_model: Make,
) -> None:
    newer = write_run(Path("runs/a-newer-one"), make_model(hidden=8))
    os.utime(run_folder / "model.safetensors", (1e9, 1e9))
    code, lines = export("model.onnx")
    assert code == 0
    assert "2 x LSTM(8)" in lines[0]
    assert str(newer) in lines[0]
    config = json.loads((newer / "config.json").read_text())
    config["results"]["finished"] = False
    (newer / "config.json").write_text(json.dumps(config))
    remark, *_ = export("model.onnx", "--no-siblings")[1]
    assert remark.startswith(f"{newer}, the newest run, was stopped before its end")
    os.utime(newer / "model.safetensors", (5e8, 5e8))
    assert "2 x LSTM(16)" in export("model.onnx")[1][0]


@pytest.mark.parametrize("file", ["training_state.pt", ".lock"])
def test_a_newer_run_without_an_epoch_is_passed_over_aloud(
    export: Export, run_folder: Path, file: str
) -> None:
    os.utime(run_folder / "model.safetensors", (1e9, 1e9))
    for name, written in (("latest", 1e9 + 1), ("older", 1e9 - 1)):
        Path("runs", name).mkdir()
        Path("runs", name, file).touch()
        os.utime(Path("runs", name, file), (written, written))
    said, first, *_ = export("model.onnx", "--no-siblings")[1]
    assert said == "runs/latest has no epoch yet: passed over"
    assert first.endswith(f"proven equal to {run_folder}")
    assert "latest" not in export("model.onnx", "--no-siblings", "--run", run_folder)[1][0]


@pytest.mark.parametrize(
    ("tolerance", "saying"),
    [("STEP_TOLERANCE", "after one step"), ("CARRIED_TOLERANCE", "within 30 carried steps")],
)
def test_a_failed_proof_leaves_everything_as_it_was(
    refuses: Refuses,
    run_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    tolerance: str,
    saying: str,
) -> None:
    older = shipped_model().read_bytes()
    Path("old.onnx").write_bytes(older)
    monkeypatch.setattr(errors, tolerance, -1.0)
    for name in ("old.onnx", "new.onnx"):
        refuses(name, saying="the graph does not equal the Torch model: ")
        refuses(name, saying=saying)
    assert files() == {"old.onnx"}
    assert Path("old.onnx").read_bytes() == older


@pytest.mark.parametrize("name", ["mine.onnx", "mine.json"])
@pytest.mark.parametrize("content", [b"my own", b'{"my": "notes"}', b"7"])
def test_a_file_that_is_no_export_is_not_replaced(
    export: Export, refuses: Refuses, run_folder: Path, name: str, content: bytes
) -> None:
    Path(name).write_bytes(content)
    refuses("mine.onnx", saying=f"{name} is there, and charlm-export has not written it: move it")
    assert files() == {name}
    assert Path(name).read_bytes() == content
    Path(name).write_bytes(b"")  # as of mktemp
    assert export("mine.onnx", "--no-siblings")[0] == 0
    assert export("mine.onnx", "--no-siblings")[0] == 0


def test_what_it_says_to_do_next_can_be_typed(
    export: Export, write_run: Callable[[Path, CharLSTM], Path], make_model: Make
) -> None:
    run = write_run(Path("a run"), make_model(hidden=8))
    path = run / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["normalisation"]["case"] = "keep"  # so that it has no capital letters
    path.write_text(json.dumps(config), encoding="utf-8")
    assert export("my model.onnx", "--run", run, "--no-siblings")[1][-1] == (
        "next: charlm-gen --model 'my model.onnx'"
    )


@pytest.mark.parametrize("target", ["no/such/folder/model.onnx", "file/model.onnx", "f.onnx"])
def test_a_place_that_can_not_be_written(refuses: Refuses, run_folder: Path, target: str) -> None:
    Path("file").touch()
    Path("f.onnx").mkdir()
    refuses(target, saying=f"can't write {target}: ")
    assert files() == {"file", "f.onnx"}
    assert not list(Path("f.onnx").iterdir())


@pytest.mark.parametrize("name", ["model", "model.json", "model.pt"])
def test_a_model_file_ends_in_onnx(refuses: Refuses, run_folder: Path, name: str) -> None:
    refuses(name, saying=f"ends in .onnx; try {name}.onnx")
    refuses(str(run_folder), saying=f"with --run: charlm-export model.onnx --run {run_folder}")


@pytest.mark.parametrize("arguments", [[], ["a.onnx", "--verify-only", "b.onnx"]])
def test_one_file_is_named(refuses: Refuses, arguments: list[str]) -> None:
    refuses(*arguments, saying="name one file")


def test_a_run_that_is_none(refuses: Refuses, run_folder: Path) -> None:
    """Without weights it is no run to export; nor is it passed over where it is named."""
    refuses("model.onnx", "--run", "nowhere", saying="nowhere is not a run folder")
    (run_folder / "model.safetensors").unlink()
    refuses("model.onnx", saying="train one with charlm-train")
    refuses("model.onnx", "--run", run_folder, saying="it has no model.safetensors")


def test_a_run_with_damaged_weights(refuses: Refuses, run_folder: Path) -> None:
    weights = run_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    refuses("model.onnx", saying=f"{weights}: damaged")


def test_verify_only_with_and_without_the_run(export: Export, run_folder: Path) -> None:
    assert export("model.onnx")[0] == 0
    before = Path("model.onnx").read_bytes()
    code, lines = export("--verify-only", "model.onnx", "--verbose")
    assert code == 0
    assert lines[0] == "model.onnx: proven against the weights it carries"
    assert "one step: logits" in lines[1]
    assert "30 carried steps: logits" in lines[2]
    code, lines = export("--verify-only", "model.onnx", "--run", run_folder)
    assert code == 0
    assert lines[0] == f"model.onnx: proven against {run_folder}"
    assert Path("model.onnx").read_bytes() == before
    assert files() == SET


def test_verify_only_against_another_run(
    export: Export,
    refuses: Refuses,
    run_folder: Path,
    write_run: Callable[[Path, CharLSTM], Path],
    make_model: Make,
) -> None:
    assert export("model.onnx")[0] == 0
    write_run(Path("runs/other"), make_model(seed=1))
    refuses(
        "--verify-only",
        "model.onnx",
        "--run",
        "runs/other",
        saying="model.onnx was exported from other weights than those of runs/other",
    )


def nudge(model: onnx.ModelProto) -> None:
    (tensor,) = (t for t in model.graph.initializer if t.name == step_graph.TABLE)
    array = numpy_helper.to_array(tensor).copy()
    array[3, 0, 5] += 0.5
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def exchange_gates(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if list(node.output) == ["i_0", "o_0", "f_0"]:
            node.output[:] = ["i_0", "f_0", "o_0"]


def fix_the_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def lose_a_weight(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == step_graph.RECURRENT:
            tensor.name = "elsewhere"
    for node in model.graph.node:
        node.input[:] = ["elsewhere" if n == step_graph.RECURRENT else n for n in node.input]


def drop_metadata(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]


def break_a_type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.STRING


@pytest.mark.parametrize("with_run", [True, False])
@pytest.mark.parametrize(
    ("change", "saying"),
    [
        (exchange_gates, "the graph does not equal the Torch model: "),
        (nudge, "its weights are not those that it was written with"),
        (fix_the_batch, "model.onnx: "),
        (lose_a_weight, "its weights 'recurrent' are missing"),
        (drop_metadata, "not a charlm model"),
        (break_a_type, "ONNX Runtime can't load it"),
    ],
)
def test_verify_only_refuses_a_wrong_graph(
    make_model: Make,
    build: Build,
    refuses: Refuses,
    run_folder: Path,
    change: Callable[[onnx.ModelProto], None],
    saying: str,
    with_run: bool,
) -> None:
    model = onnx.load_model_from_string(build(make_model()))
    change(model)
    onnx.save_model(model, "model.onnx")
    given = ["--run", run_folder] if with_run else []
    refuses("--verify-only", "model.onnx", *given, saying=saying)


def test_verify_only_refuses_a_damaged_file(
    make_model: Make, build: Build, refuses: Refuses
) -> None:
    content = build(make_model())
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0x80
    cut_short = [content[: int(len(content) * share)] for share in (0.1, 0.5, 0.9, 0.999)]
    for damaged in (bytes(flipped), *cut_short, b"", b"not onnx at all", b"\x00" * 100):
        Path("model.onnx").write_bytes(damaged)
        refuses("--verify-only", "model.onnx", saying="model.onnx: ")
    refuses("--verify-only", "x.onnx", saying="can't read x.onnx: no such file")


@pytest.mark.parametrize("more", [["--int8"], ["--fp16"], ["--text", "a.txt"]])
def test_verify_only_measures_nothing(refuses: Refuses, more: list[str]) -> None:
    saying = f"--verify-only writes nothing: leave out {more[0]}"
    refuses("--verify-only", "x.onnx", *more, saying=saying)


def test_verify_only_reads_no_other_file(make_model: Make, build: Build, refuses: Refuses) -> None:
    """Weights kept in another file in the current folder, where ONNX would find them."""
    model = onnx.load_model_from_string(build(make_model()))
    onnx.save_model(
        model, "x.onnx", save_as_external_data=True, location="x.data", size_threshold=1024
    )
    refuses("--verify-only", "x.onnx", saying="its weights 'table' are missing")
