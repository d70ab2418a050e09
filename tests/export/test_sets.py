"""A model and its siblings as files: one set, whatever stood there before and whatever fails."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import helper, numpy_helper

from charlm.data.system import console
from charlm.export import cli, graphs
from charlm.export import export as export_module
from charlm.export.contract import KEY_WEIGHTS, SEQUENCE
from charlm.train.model import CharLSTM

Make = Callable[..., CharLSTM]
Export = Callable[..., tuple[int, list[str]]]
Refuses = Callable[..., None]

SIBLINGS = {f"model.{name}.onnx" for name in ("native", "generate", "sequence")}
SET = {"model.onnx", "model.json", *SIBLINGS}


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory,
    write_run: Callable[[Path, CharLSTM], Path],
    make_model: Make,
) -> Path:
    """Two runs, and what the export of each leaves."""
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_module, "STEPS", 30)
        for seed, name in enumerate(("first", "second")):
            run = write_run(folder / "runs" / name, make_model(seed=seed))
            model = folder / "sets" / name / "model.onnx"
            model.parent.mkdir(parents=True)
            given = [str(model), "--run", str(run)]
            assert console.exit_code(cli.app, "charlm-export", given) == 0
    return folder


@pytest.fixture(autouse=True)
def _runs(export: Export, exported: Path) -> None:
    """Both, in the current folder, as `runs/first` and so on, and `sets/first`."""
    for name in ("runs", "sets"):
        shutil.copytree(exported / name, name)


def place(name: str = "first", model: str = "model") -> None:
    """The whole set of an export, in the current folder."""
    for path in Path("sets", name).iterdir():
        shutil.copy(path, path.name.replace("model", model, 1))


def files() -> set[str]:
    return {path.name for path in Path().iterdir()} - {"runs", "sets"}


def contents() -> dict[str, bytes]:
    return {name: Path(name).read_bytes() for name in files()}


def hash_of(name: str) -> str:
    entries = onnx.load_model(name).metadata_props
    return next(str(entry.value) for entry in entries if entry.key == KEY_WEIGHTS)


def test_an_export_replaces_the_whole_set(export: Export) -> None:
    assert export("model.onnx", "--run", "runs/first")[0] == 0
    before = hash_of("model.onnx")
    assert export("model.onnx", "--run", "runs/second")[0] == 0
    assert files() == SET
    hashes = {hash_of(name) for name in SET - {"model.json"}}
    assert len(hashes) == 1
    assert hashes != {before}


def test_no_stale_sibling_stays_beside_a_new_model(export: Export) -> None:
    place()
    Path("model.sequence.onnx").write_bytes(b"cut short")
    Path("model.other.onnx").write_bytes(b"the user's own")
    assert export("model.onnx", "--run", "runs/second", "--no-siblings")[0] == 0
    assert files() == {"model.onnx", "model.json", "model.other.onnx"}


def test_no_sibling_is_replaced_by_a_model(refuses: Refuses) -> None:
    place()
    before = contents()
    saying = "model.native.onnx is a graph that stands beside a model: name the model"
    refuses("model.native.onnx", "--run", "runs/second", saying=saying)
    assert contents() == before


def test_siblings_of_the_same_weights_stay(export: Export) -> None:
    place()
    before = contents()
    assert export("model.onnx", "--run", "runs/first", "--no-siblings")[0] == 0
    assert contents() == before


def test_without_siblings(export: Export) -> None:
    code, lines = export("model.onnx", "--run", "runs/first", "--no-siblings")
    assert code == 0
    assert files() == {"model.onnx", "model.json"}
    assert lines[1] == "beside it, optional: model.json repeats its metadata"


def test_siblings_of_a_model_that_has_none(export: Export) -> None:
    place()
    wanted = contents()
    for name in (*SIBLINGS, "model.json"):
        Path(name).unlink()
    Path("model.sequence.onnx").write_bytes(b"stale")
    written = Path("model.onnx").stat().st_mtime_ns
    code, lines = export("--siblings-of", "model.onnx")
    assert code == 0
    assert lines[0] == "model.onnx: proven against the weights it carries"
    assert all(str(path) in lines[1] for path in SIBLINGS)
    assert "model.json" not in lines[1]
    assert lines[-1] == "next: charlm-gen --model model.onnx"  # which has other letters
    assert contents() == {name: wanted[name] for name in SET - {"model.json"}}
    assert Path("model.onnx").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["--siblings-of", "none.onnx"], "can't read none.onnx: no such file"),
        (["--siblings-of", "model.generate.onnx"], "not a step graph"),
        (["--siblings-of", "model.onnx", "--run", "runs/first"], "leave out --run"),
        (["--siblings-of", "model.onnx", "--no-siblings"], "leave out --no-siblings"),
        (["--siblings-of", "model.onnx", "--verify-only", "model.onnx"], "name one file"),
        (["model.onnx", "--siblings-of", "model.onnx"], "name one file"),
    ],
)
def test_mistakes_with_siblings_of(
    export: Export, refuses: Refuses, arguments: list[str], saying: str
) -> None:
    place()
    before = contents()
    refuses(*arguments, saying=saying)
    assert contents() == before


@pytest.mark.parametrize("command", [["model.onnx"], ["--siblings-of", "model.onnx"]])
def test_a_siblings_failed_proof_leaves_everything_as_it_was(
    export: Export, refuses: Refuses, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    place()
    before = contents()
    real = graphs.BUILDERS[SEQUENCE]

    def wrong(*given: object) -> bytes:
        proto = onnx.load_model_from_string(real(*given))  # type: ignore[arg-type]
        (tensor,) = (t for t in proto.graph.initializer if t.name == "head_bias")
        changed = numpy_helper.to_array(tensor) + 1
        changed[0] -= 2
        tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
        return bytes(proto.SerializeToString())

    monkeypatch.setitem(graphs.BUILDERS, SEQUENCE, wrong)
    given = [*command, *(["--run", "runs/second"] if command == ["model.onnx"] else [])]
    refuses(*given, saying="model.sequence.onnx does not equal the Torch model: ")
    assert contents() == before
    if command == ["model.onnx"]:
        refuses("new.onnx", "--run", "runs/first", saying="new.sequence.onnx does not")
        assert contents() == before


@pytest.mark.parametrize("after", [0, 1, 3, 4])
def test_a_full_disk_leaves_everything_as_it_was(
    export: Export, refuses: Refuses, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    place()
    before = contents()
    calls: list[int] = []
    real = os.fsync

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > after:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    refuses(
        "model.onnx",
        "--run",
        "runs/second",
        saying="can't write model.onnx: no space left on device",
    )
    assert contents() == before


def test_a_folder_with_a_siblings_name(refuses: Refuses) -> None:
    Path("model.sequence.onnx").mkdir()
    refuses("model.onnx", "--run", "runs/first", saying="model.sequence.onnx is a folder")
    assert files() == {"model.sequence.onnx"}


def test_verify_only_proves_the_siblings_that_are_there(export: Export) -> None:
    place()
    Path("model.sequence.onnx").unlink()
    code, lines = export("--verify-only", "model.onnx", "--run", "runs/first")
    assert code == 0
    beside = "beside it, optional: model.native.onnx, model.generate.onnx run many characters"
    assert lines[1].startswith(beside)


def test_verify_only_refuses_a_sibling_of_other_weights(export: Export, refuses: Refuses) -> None:
    place()
    place("second", "other")
    Path("other.generate.onnx").replace("model.generate.onnx")
    refuses(
        "--verify-only",
        "model.onnx",
        saying="model.generate.onnx: made from other weights than the model beside it",
    )


def test_verify_only_finds_a_sibling_that_only_says_that_it_is_of_these_weights(
    export: Export,
    refuses: Refuses,
) -> None:
    place()
    place("second", "other")
    proto = onnx.load_model("other.generate.onnx")
    kept = {entry.key: entry.value for entry in proto.metadata_props}
    helper.set_model_props(proto, kept | {KEY_WEIGHTS: hash_of("model.onnx")})
    onnx.save_model(proto, "model.generate.onnx")
    refuses("--verify-only", "model.onnx", saying="model.generate.onnx does not ")


def test_verify_only_refuses_a_sibling_cut_short(export: Export, refuses: Refuses) -> None:
    place()
    content = Path("model.generate.onnx").read_bytes()
    for share in (0.0, 0.1, 0.9):
        Path("model.generate.onnx").write_bytes(content[: int(len(content) * share)])
        refuses(
            "--verify-only", "model.onnx",
            saying="model.generate.onnx: damaged, or no sibling of a model: write it anew with "
            "charlm-export --siblings-of model.onnx",
        )  # fmt: skip
