"""Run folders with a file that is missing, damaged, or of another model: one line, exit code 2.

What is derived from the training state can be had again, so resuming mends it; reading it says so.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from charlm.data.system.errors import RunError
from charlm.train.runs import run_folder
from charlm.train.runs.checkpoint import FILE
from charlm.train.runs.run_folder import CONFIG, DERIVED, WEIGHTS

Train = Callable[..., tuple[int, list[str]]]
Damage = Callable[[Path], object]
FAST = ["--hidden", "8", "--epochs", "1", "--batch-size", "4", "--seq-len", "32", "--device", "cpu"]


def make_folder_of(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Damage] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a folder": make_folder_of,
}
damaged = pytest.mark.parametrize("damage", DAMAGE)


@pytest.fixture
def folder(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "tiny"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@damaged
@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_what_cannot_be_read_is_named_with_the_cure(name: str, damage: str, folder: Path) -> None:
    DAMAGE[damage](folder / name)
    with pytest.raises(RunError) as error:
        run_folder.load_run(folder)
    message = str(error.value)
    assert "\n" not in message
    assert name in message
    cure = f"charlm-train --resume --out {folder}"
    assert message.endswith("move it away" if damage == "a folder" else cure)


@damaged
@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_without_a_state_there_is_another_cure(name: str, damage: str, folder: Path) -> None:
    (folder / FILE).unlink()
    DAMAGE[damage](folder / name)
    with pytest.raises(RunError) as error:
        run_folder.load_run(folder)
    assert "--resume" not in str(error.value)


@damaged
def test_each_derived_file_is_had_again_by_resuming(
    damage: str, folder: Path, tiny_run: Path, train: Train
) -> None:
    for name in DERIVED:
        DAMAGE[damage](folder / name)
    code, lines = train("--resume", "--out", folder)
    if damage == "a folder":
        assert (code, len(lines)) == (2, 1)
        assert "a folder is where a file should be: move it away" in lines[0]
        return
    assert code == 0
    assert content(folder) == content(tiny_run)


@damaged
@pytest.mark.parametrize("options", [["--resume"], ["--overwrite"], []])
def test_a_damaged_state(
    damage: str, options: list[str], folder: Path, tiny_text: Path, train: Train
) -> None:
    DAMAGE[damage](folder / FILE)
    before = content(folder)
    code, lines = train(tiny_text, "--out", folder, *FAST, *options)
    if options == ["--overwrite"] and damage not in ("a folder", "missing"):
        assert code == 0, "what is thrown away need not be whole"
        return
    assert (code, len(lines)) == (2, 1)
    assert content(folder) == before


def test_weights_that_there_cannot_be_yet(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    config["results"]["epochs"] = 0
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    (folder / WEIGHTS).unlink()
    with pytest.raises(RunError, match="no epoch has been completed yet; continue with: "):
        run_folder.load_run(folder)


def test_weights_of_another_size(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    config["model"]["hidden"] = 24
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(RunError) as error:
        run_folder.load_run(folder)
    found = f"of another model than {CONFIG}: head.weight is [52, 16], not [52, 24]; "
    found = found.replace("52", str(config["model"]["vocabulary"]))
    assert found in str(error.value)


@pytest.mark.parametrize(
    ("lost", "words"), [(True, "it has no head.bias"), (False, "it has extra, which the model has")]
)
def test_a_tensor_too_few_or_too_many(lost: bool, words: str, folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    if lost:
        del weights["head.bias"]
    else:
        weights["extra"] = weights["head.bias"].clone()
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(RunError, match=words):
        run_folder.load_run(folder)
