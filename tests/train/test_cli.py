"""The command `charlm-train`: its options, its mistakes, and the run folder that it leaves."""

import json
import math
import re
import sys
from pathlib import Path

import pytest
import torch

from charlm.data.system import console
from charlm.data.text.corpus import split
from charlm.train import cli
from charlm.train.loop.evaluate import bits_per_character
from charlm.train.runs import run_folder
from charlm.train.runs.checkpoint import FILE, Checkpoint
from charlm.train.runs.listing import list_runs
from tests.train.helpers import EPOCH, FAST, Train, refused


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--hidden", "0"], "--hidden is from 1 to 8192, not 0"),
        (["--hidden", "1000000"], "--hidden is from 1"),
        (["--layers", "257"], "--layers is from 1 to 256"),
        (["--dropout", "1"], "--dropout is at least 0 and below 1"),
        (["--output-dropout", "nan"], "--output-dropout is at least 0 and below 1"),
        (["--weight-decay", "-0.1"], "--weight-decay is from 0 to"),
        (["--weight-decay", "1e30"], "--weight-decay is from 0 to 1e+18"),
        (["--lr", "-1"], "--lr is a number above 0, not -1"),
        (["--lr", "nan"], "--lr is a number above 0"),
        (["--lr", "1e39"], "--lr is at most 1e+18"),
        (["--muon-lr", "1e39"], "--muon-lr is at most 1e+18, not 1e+39"),
        (["--clip", "inf"], "--clip is a number above 0"),
        (["--minutes", "0"], "--minutes is a number above 0"),
        (["--minutes", "1e308"], "--minutes is at most 1e+07"),
        (["--seq-len", "0"], "--seq-len is at least 1"),
        (["--batch-size", "0"], "--batch-size is at least 1"),
        (["--epochs", "9" * 40], "--epochs is from 1 to 1000000000"),
        (["--patience", "-1"], "--patience is at least 0"),
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
        (["--optimiser", "adam", "--muon-lr", "0.1"], "--optimiser adam has no --muon-lr"),
        (["--device", "abacus"], "--device is one of auto, cpu, cuda, not 'abacus'"),
        (["--device", "cuda"], "--device cuda: "),
        (["--case", "upper"], "case is one of keep, lower"),
        (["--newlines", "eat"], "newlines one of keep, drop, space"),
    ],
)
def test_a_setting_out_of_range(
    options: list[str],
    words: str,
    train: Train,
    tiny_text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert words in refused(train, tiny_text, "--out", tmp_path / "run", *FAST, *options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "said",
    [["--optimiser", "muon"], ["--muon-lr", "0.1"], ["--clip", "5"], ["--weight-decay", "0.1"]],
)
def test_what_the_notebooks_recipe_does_not_have(
    said: list[str], train: Train, tiny_text: Path, tmp_path: Path
) -> None:
    line = refused(train, tiny_text, "--out", tmp_path / "run", "--recipe", "notebook", *said)
    assert "--recipe notebook has Adam" in line
    assert line.endswith(f"leave {said[0]} out")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments", [["--no-such-option"], ["--hidden", "many"], ["--hidden"], ["--lr", "fast"]]
)
def test_a_usage_error_is_one_line(arguments: list[str], train: Train) -> None:
    assert refused(train, *arguments).endswith("(see charlm-train --help)")


def test_help_has_an_example_and_all_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.exit_code(cli.app, "charlm-train", ["--help"]) == 0
    shown = capsys.readouterr().out
    assert "charlm-train book.txt --minutes 10" in shown
    for option in cli.train.__annotations__:
        if option not in ("texts", "return"):
            assert f"--{option.replace('_', '-')}" in shown


def test_the_run_folder(tiny_run: Path, tiny_text: Path, prose: str) -> None:
    assert {path.name for path in tiny_run.iterdir()} == {FILE, *run_folder.DERIVED}
    permissions = {path.stat().st_mode & 0o777 for path in tiny_run.iterdir()}
    assert len(permissions) == 1, "the files differ in their permissions"
    lines = (tiny_run / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    card = (tiny_run / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# tiny\n")
    assert "2 × LSTM(16)" in card
    assert "on the last 5 %, scored once" in card
    text = (tiny_run / "config.json").read_text(encoding="utf-8")
    assert str(tiny_text.parent) not in text + card, "a path of this machine"
    config = json.loads(text)
    assert config["model"] == {
        "vocabulary": len(set(prose)), "hidden": 16, "layers": 2, "dropout": 0.0,
        "output_dropout": 0.0,
    }  # fmt: skip
    assert config["vocabulary"] == sorted(set(prose))
    learnt = prose[: len(prose) * 90 // 100]
    assert config["initial"] == [learnt.count(character) for character in sorted(set(prose))]
    assert config["corpus"]["files"] == ["tiny.txt"]
    assert config["results"]["finished"] is True
    assert config["results"]["steps"] == config["results"]["total_steps"] == 2 * EPOCH
    assert config["training"]["lr"] == 0.02
    saved = torch.load(tiny_run / FILE, weights_only=True)  # plain containers and tensors
    assert set(saved) == {"format", "setup", "progress"}


def test_the_models_figures_are_those_of_the_weights(tiny_run: Path, prose: str) -> None:
    run = run_folder.load_run(tiny_run)
    splits = split(run.vocabulary.encode(prose))
    for name, part in (("validation", splits.validation), ("test", splits.test)):
        bits = bits_per_character(run.model, part)
        found = run.summary["results"][f"{name}_bits_per_character"]
        assert found == pytest.approx(bits, abs=1e-4)


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


@pytest.mark.parametrize(
    ("said", "guessed"),
    [
        (["--minutes", "0.001"], True),
        (["--minutes", "0.001", "--dropout", "0", "--output-dropout", "0"], False),
        (["--epochs", "1"], False),
    ],
)
def test_a_tiny_budget(
    said: list[str], guessed: bool, train: Train, tiny_text: Path, tmp_path: Path
) -> None:
    """Passes are guessed where a dropout goes by them."""
    folder = tmp_path / "run"
    assert train(tiny_text, "--out", folder, *FAST[:2], *FAST[4:], *said)[0] == 0
    saved = Checkpoint.load(folder)
    assert saved.progress.total_steps == saved.progress.step
    training = saved.setup.training
    assert (training.minutes is None) == (training.epochs is not None)
    assert (training.passes is not None) == guessed
    if training.epochs is None:
        (read,) = {record["epoch"] for record in saved.progress.metrics}
        assert 0 < read < 1
        results = run_folder.load_run(folder).summary["results"]
        assert results["epochs"] == results["best_epoch"] == read
        assert f", {read:.3g} epochs, " in (folder / "README.md").read_text(encoding="utf-8")
        (listed,) = list_runs(folder.parent)
        assert f"{read:.3g}" in listed.cells()


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
    assert re.match(r"epoch 1 of 1: training \d\.\d+, validation \d\.\d+ bits/char, ", lines[1])
    assert lines[2].startswith("  ")
    assert re.match(re.escape(f"{folder}: test ") + r"\d\.\d+ bits/char", lines[-2])
    assert lines[-1] == f"next: charlm-export model.onnx --run '{folder}'"


def test_no_bar_is_drawn_into_a_file(
    train: Train, tiny_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    code, lines = train(tiny_text, "--out", tmp_path / "run", *FAST)
    assert code == 0
    assert not any("\x1b" in line for line in lines)


def test_without_a_text_the_corpus_that_ships(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, lines = train(*FAST, "--hidden", "4", "--seq-len", "256", "--batch-size", "64")
    assert code == 0
    assert lines[0].startswith(f"{Path('runs/sample')}: ")


def test_without_the_extra_the_line_to_run_is_given(
    tiny_text: Path, tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    line = refused(train, tiny_text, "--out", tmp_path / "run", *FAST)
    assert "matplotlib is not installed; run: pip install 'charlm[train]'" in line
    assert not (tmp_path / "run").exists()


def test_a_batch_that_no_memory_holds(tiny_text: Path, tmp_path: Path, train: Train) -> None:
    given = ["--recipe", "notebook", "--batch-size", 2 * 10**12]
    code, lines = train(tiny_text, "--out", tmp_path / "run", *given)
    assert code == 2
    assert lines[-1].startswith("charlm-train: memory ran out: choose a lower --batch-size")
