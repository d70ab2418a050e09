"""The command `charlm-train`: its options, its mistakes, and the run folder that it leaves."""

import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from charlm.data.system import console
from charlm.data.text.corpus import split
from charlm.train import cli
from charlm.train.evaluate import bits_per_character
from charlm.train.runs import run_folder
from charlm.train.runs.checkpoint import FILE, Checkpoint

Train = Callable[..., tuple[int, list[str]]]
FAST = [
    "--hidden", "8", "--epochs", "1", "--batch-size", "4", "--seq-len", "32", "--threads", "1",
    "--device", "cpu",
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--hidden", "0"], "--hidden is from 1 to 8192, not 0"),
        (["--hidden", "1000000"], "--hidden is from 1 to 8192"),
        (["--layers", "0"], "--layers is from 1 to 256"),
        (["--dropout", "1"], "--dropout is at least 0 and below 1"),
        (["--dropout", "nan"], "--dropout is at least 0 and below 1"),
        (["--output-dropout", "1"], "--output-dropout is at least 0 and below 1"),
        (["--weight-decay", "-0.1"], "--weight-decay is at least 0"),
        (["--weight-decay", "inf"], "--weight-decay is at least 0"),
        (["--lr", "-1"], "--lr is a number above 0, not -1"),
        (["--lr", "nan"], "--lr is a number above 0"),
        (["--lr", "inf"], "--lr is a number above 0"),
        (["--clip", "0"], "--clip is a number above 0"),
        (["--minutes", "0"], "--minutes is a number above 0"),
        (["--seq-len", "0"], "--seq-len is at least 1"),
        (["--batch-size", "0"], "--batch-size is at least 1"),
        (["--epochs", "0"], "--epochs is from 1 to 1000000000"),
        (["--epochs", "9" * 40], "--epochs is from 1 to 1000000000"),
        (["--minutes", "1e308"], "--minutes is at most 1e+07"),
        (["--patience", "-1"], "--patience is at least 0"),
        (["--threads", "0"], "--threads is from 1 to 256"),
        (["--threads", "100000"], "--threads is from 1 to 256"),
        (["--seed", "-1"], "--seed is at least 0"),
        (["--seed", str(2**63)], "--seed is below"),
        (["--recipe", "nonsense"], "--recipe is one of stateful, notebook, not 'nonsense'"),
        (["--recipe", "notebook"], "notebook reads windows of 40: leave --seq-len out"),
        (["--autocast", "bf16"], "--autocast bf16 is for a GPU"),
        (["--autocast", "fp8"], "--autocast is one of none, bf16, not 'fp8'"),
        (["--step", "graph"], "--step graph is for a GPU"),
        (["--step", "lazy"], "--step is one of eager, compiled, graph, not 'lazy'"),
        (["--tf32"], "--tf32 is for a GPU"),
        (["--optimiser", "sgd"], "--optimiser is one of muon, adam, not 'sgd'"),
        (
            ["--optimiser", "adam", "--muon-lr", "0.1"],
            "--optimiser adam has no --muon-lr: leave it out",
        ),
        (["--device", "abacus"], "--device is one of auto, cpu, cuda, not 'abacus'"),
        (["--case", "upper"], "case is one of keep, lower"),
        (["--newlines", "eat"], "newlines one of keep, drop, space"),
    ],
)
def test_a_setting_out_of_range(
    options: list[str], words: str, train: Train, tiny_text: Path, tmp_path: Path
) -> None:
    code, lines = train(tiny_text, "--out", tmp_path / "run", *FAST, *options)
    assert (code, len(lines)) == (2, 1)
    assert words in lines[0]
    assert not (tmp_path / "run").exists()


def test_cuda_where_there_is_none(
    train: Train, tiny_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, lines = train(tiny_text, "--out", tmp_path / "run", *FAST, "--device", "cuda")
    assert (code, len(lines)) == (2, 1)
    assert "--device cuda: " in lines[0]
    assert "use --device cpu" in lines[0]


@pytest.mark.parametrize(
    "arguments", [["--no-such-option"], ["--hidden", "many"], ["--hidden"], ["--lr", "fast"]]
)
def test_a_usage_error_is_one_line(arguments: list[str], train: Train) -> None:
    code, lines = train(*arguments)
    assert (code, len(lines)) == (2, 1)
    assert lines[0].endswith("(see charlm-train --help)")


def test_help_has_an_example_and_all_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.exit_code(cli.app, "charlm-train", ["--help"]) == 0
    shown = capsys.readouterr().out
    assert "charlm-train book.txt --minutes 10" in shown
    for option in cli.train.__annotations__:
        if option not in ("texts", "return"):
            assert f"--{option.replace('_', '-')}" in shown


def test_the_run_folder(tiny_run: Path) -> None:
    names = {path.name for path in tiny_run.iterdir()}
    assert names == {
        "model.safetensors", "config.json", "metrics.jsonl", "training_state.pt", "README.md"
    }  # fmt: skip
    lines = (tiny_run / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    permissions = {path.stat().st_mode & 0o777 for path in tiny_run.iterdir()}
    assert len(permissions) == 1, "the files differ in their permissions"


def test_the_configuration(tiny_run: Path, tiny_text: Path, prose: str) -> None:
    text = (tiny_run / "config.json").read_text(encoding="utf-8")
    assert str(tiny_text.parent) not in text, "a path of this machine"
    config = json.loads(text)
    assert config["model"] == {
        "vocabulary": len(set(prose)), "hidden": 16, "layers": 2, "dropout": 0.0,
        "output_dropout": 0.0,
    }  # fmt: skip
    assert config["vocabulary"] == sorted(set(prose))
    learnt = prose[: len(prose) * 90 // 100]
    assert config["initial"] == [learnt.count(character) for character in sorted(set(prose))]
    assert config["corpus"]["files"] == ["tiny.txt"]
    results = config["results"]
    assert results["finished"] is True
    assert results["steps"] == results["total_steps"] == 2 * 43
    assert config["training"]["lr"] == 0.02


def test_the_models_figures_are_those_of_the_weights(tiny_run: Path, prose: str) -> None:
    run = run_folder.load_run(tiny_run)
    parts = split(run.vocabulary.encode(prose))
    results = run.summary["results"]
    validation = bits_per_character(run.model, parts.validation)
    assert results["validation_bits_per_character"] == pytest.approx(validation, abs=1e-4)
    test = bits_per_character(run.model, parts.test)
    assert results["test_bits_per_character"] == pytest.approx(test, abs=1e-4)


def test_the_model_card(tiny_run: Path, tiny_text: Path) -> None:
    card = (tiny_run / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# tiny\n")
    assert "2 × LSTM(16)" in card
    assert "on the last 5 %, scored once" in card
    assert str(tiny_text.parent) not in card


def test_final_learns_from_95_percent(
    train: Train, tiny_text: Path, tmp_path: Path, prose: str
) -> None:
    folder = tmp_path / "run"
    assert train(tiny_text, "--out", folder, *FAST, "--final")[0] == 0
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert sum(config["initial"]) == len(prose) * 95 // 100
    assert config["results"]["validation_bits_per_character"] is None
    assert config["results"]["test_bits_per_character"] > 0
    assert "the first 95 %" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_tiny_budget(train: Train, tiny_text: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = FAST[:2] + FAST[4:]
    code, _ = train(tiny_text, "--out", folder, *settings, "--minutes", "0.001")
    assert code == 0
    progress = Checkpoint.load(folder).progress
    assert progress.total_steps == progress.step
    training = json.loads((folder / "config.json").read_text(encoding="utf-8"))["training"]
    assert (training["minutes"], training["epochs"]) == (0.001, None)
    assert training["passes"] >= 1, "dropout went by them"


def test_passes_are_not_guessed_where_nothing_goes_by_them(
    train: Train, tiny_text: Path, tmp_path: Path
) -> None:
    both = ["--dropout", "0", "--output-dropout", "0"]
    for number, said in enumerate((["--epochs", "1"], ["--minutes", "0.001", *both])):
        folder = tmp_path / str(number)
        assert train(tiny_text, "--out", folder, *FAST[:2], *FAST[4:], *said)[0] == 0
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        assert config["training"]["passes"] is None


@pytest.mark.parametrize(
    "said",
    [["--optimiser", "muon"], ["--muon-lr", "0.1"], ["--clip", "5"], ["--weight-decay", "0.1"]],
)
def test_what_the_notebooks_recipe_does_not_have(
    said: list[str], train: Train, tiny_text: Path, tmp_path: Path
) -> None:
    code, lines = train(tiny_text, "--out", tmp_path / "run", "--recipe", "notebook", *said)
    assert (code, len(lines)) == (2, 1)
    assert "--recipe notebook has Adam, and limits neither gradients nor weights: " in lines[0]
    assert lines[0].endswith(f"leave {said[0]} out")
    assert not (tmp_path / "run").exists()


def test_the_notebooks_recipe(train: Train, tiny_text: Path, tmp_path: Path, prose: str) -> None:
    folder = tmp_path / "run"
    code, _ = train(
        tiny_text, "--out", folder, "--recipe", "notebook", "--hidden", "8", "--threads", "1",
        "--device", "cpu", "--epochs", "1", "--case", "lower", "--no-nfc", "--newlines", "drop",
    )  # fmt: skip
    assert code == 0
    saved = Checkpoint.load(folder)
    training = saved.setup.training
    assert (training.batch_size, training.seq_len, training.lr) == (192, 40, 1e-3)
    recorded = json.loads((folder / "config.json").read_text(encoding="utf-8"))["training"]
    has = (recorded["optimiser"], recorded["muon_lr"], recorded["clip"], recorded["lr"])
    assert has == ("adam", None, None, 1e-3)
    learnt = len(prose.lower().replace("\n", "")) * 90 // 100
    windows = math.ceil((learnt - 40) / 3)
    assert saved.progress.step == math.ceil(windows / 192)
    assert not [c for c in saved.setup.vocabulary if c.isupper() or c == "\n"]


def test_progress_names_what_comes_next(train: Train, tiny_text: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a [run]"
    code, lines = train(tiny_text, "--out", folder, *FAST)
    assert code == 0
    assert lines[0].startswith(f"{folder}: 6,000 characters, ")
    assert re.match(r"epoch 1: training \d\.\d+, validation \d\.\d+ bits/char, ", lines[1])
    assert lines[2].startswith("  ")
    assert re.match(re.escape(f"{folder}: test ") + r"\d\.\d+ bits/char", lines[-2])
    assert lines[-1] == f"next: charlm-export model.onnx --run '{folder}'"


def test_without_a_text_the_corpus_that_ships(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, lines = train(*FAST, "--hidden", "4", "--seq-len", "256", "--batch-size", "64")
    assert code == 0
    assert lines[0].startswith(f"{Path('runs/sample')}: ")


def test_the_state_holds_no_more_than_plain_containers_and_tensors(tiny_run: Path) -> None:
    saved = torch.load(tiny_run / FILE, weights_only=True)
    assert set(saved) == {"format", "setup", "progress"}


def test_without_the_extra_the_line_to_run_is_given(
    tiny_text: Path, tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, lines = train(tiny_text, "--out", tmp_path / "run", *FAST)
    assert (code, len(lines)) == (2, 1)
    assert "matplotlib is not installed; run: pip install 'charlm[train]'" in lines[0]
    assert not (tmp_path / "run").exists()


def test_a_batch_that_no_memory_holds(tiny_text: Path, tmp_path: Path, train: Train) -> None:
    folder = tmp_path / "run"
    code, lines = train(
        tiny_text, "--out", folder, "--recipe", "notebook", "--batch-size", 2 * 10**12
    )
    assert code == 2
    assert lines[-1].startswith("charlm-train: memory ran out: choose a lower --batch-size")
