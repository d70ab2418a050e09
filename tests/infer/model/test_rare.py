"""A text of thousands of characters end to end: trained, exported, gone on with and scored."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from charlm.data.system import console
from charlm.data.system.errors import VocabularyError
from charlm.data.text.rare import REPLACEMENT
from charlm.export import export
from charlm.export.export import Wanted, export_run
from charlm.infer.cli import gen as cli_gen
from charlm.infer.cli import score as cli_score
from charlm.infer.generator import Generator
from charlm.infer.request import Request
from charlm.infer.scoring.score import Scorer
from charlm.infer.scoring.segments import SegmentScorer
from charlm.infer.scoring.windows import WindowScorer
from charlm.train import cli as train_cli

Command = Callable[..., tuple[int, str, list[str]]]
CHARACTERS = 20_000
DISTINCT = 3_000
FAST = [
    "--hidden", "4", "--epochs", "1", "--batch-size", "4", "--seq-len", "512", "--threads", "1",
    "--device", "cpu", "--overwrite", "--no-report",
]  # fmt: skip


@pytest.fixture(scope="module")
def chinese(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ideographs of Zipf's frequencies, the lowest code points the most frequent."""
    weights = 1 / np.arange(1, DISTINCT + 1)
    random = np.random.RandomState(0)
    drawn = random.choice(DISTINCT, CHARACTERS, p=weights / weights.sum())
    path = tmp_path_factory.mktemp("chinese") / "zh.txt"
    path.write_text("".join(chr(0x4E00 + place) for place in drawn), encoding="utf-8")
    return path


def trained(text: Path, name: str, *options: str) -> Path:
    run, model = text.parent / name, text.parent / f"{name}.onnx"
    arguments = [str(text), "--out", str(run), *FAST, *options]
    assert console.exit_code(train_cli.app, "charlm-train", arguments) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "STEPS", 20)
        export_run(run, model, Wanted(kinds=()))
    return model


@pytest.fixture(scope="module")
def replacing(chinese: Path) -> Path:
    """A model that replaced rare characters, by default."""
    return trained(chinese, "replacing")


@pytest.fixture(scope="module")
def dropping(chinese: Path) -> Path:
    """A model that dropped them, and has a limit."""
    return trained(chinese, "dropping", "--rare", "drop", "--max-vocabulary", "300")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    def run(name: str, *arguments: object) -> tuple[int, str, list[str]]:
        capsys.readouterr()
        app = {"charlm-gen": cli_gen.app, "charlm-score": cli_score.app}[name]
        given = [*map(str, arguments), "--provider", "cpu"]
        code = console.exit_code(app, name, given)
        shown = capsys.readouterr()
        return code, shown.out, shown.err.splitlines()

    return run


def test_a_model_knows_what_was_done_to_its_corpus(replacing: Path, dropping: Path) -> None:
    metadata = Generator.open(replacing, "cpu").metadata
    assert (metadata.rare.policy, metadata.rare.min_count) == ("replace", 3)
    assert REPLACEMENT in metadata.vocabulary.characters
    assert 500 < len(metadata.vocabulary) < 1000 < metadata.rare.characters
    sidecar = json.loads(replacing.with_suffix(".json").read_text(encoding="utf-8"))
    assert sidecar["charlm.config"]["rare"] == metadata.rare.as_dict()
    metadata = Generator.open(dropping, "cpu").metadata
    assert (metadata.rare.unknown, metadata.rare.max_vocabulary) == ("drop", 300)
    assert len(metadata.vocabulary) == 300


def test_a_prompts_unknown_characters_become_the_replacement(replacing: Path, run: Command) -> None:
    model = Generator.open(replacing, "cpu")
    wanted = model.text(f"一丁{REPLACEMENT}七", length=30, seed=1)
    assert wanted == model.text("一丁龘七", length=30, seed=1)
    given = ("--model", replacing, "--length", 30, "--seed", 1)
    code, out, err = run("charlm-gen", "一丁龘七", *given)
    assert (code, out) == (0, f"一丁{REPLACEMENT}七{wanted}\n")
    assert err[1:] == [
        f"charlm-gen: 1 of the prompt's characters is not among the model's "
        f"{len(model.vocabulary)} and was read as '{REPLACEMENT}' (U+FFFD), as rare ones of its "
        "corpus were"
    ]
    assert run("charlm-gen", "一丁七", *given)[2] == err[:1]


def test_a_prompts_unknown_characters_are_left_out(dropping: Path, run: Command) -> None:
    wanted = Generator.open(dropping, "cpu").text("一丁", length=30, seed=1)
    given = ("--model", dropping, "--length", 30, "--seed", 1)
    code, out, err = run("charlm-gen", "龘一!丁", *given)
    assert (code, out) == (0, f"一丁{wanted}\n")
    assert err[1] == (
        "charlm-gen: 2 of the prompt's characters are not among the model's 300 and were left "
        "out, as rare ones of its corpus were"
    )


def test_what_is_asked_for_comes_first(replacing: Path, dropping: Path, run: Command) -> None:
    for model in (replacing, dropping):
        given = ("--model", model, "--length", 5, "--seed", 1)
        code, out, err = run("charlm-gen", "一龘", *given, "--unknown", "error")
        assert (code, out) == (2, "")
        assert "character '龘' (U+9F98) at position 1" in err[-1]
        assert run("charlm-gen", "一龘", *given, "--unknown", "丁")[1].startswith("一丁")
        code, out, err = run("charlm-gen", "一龘", *given, "--unknown", "drop")
        assert (code, len(out)) == (0, 1 + 5 + 1)
        assert err[1].endswith("and was left out")
        assert "'龘' is not one of" in run("charlm-gen", "一", *given, "--unknown", "龘")[2][-1]


def test_a_batch_says_it_once(dropping: Path, run: Command, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("一龘\n丁\n龘龘七\n", encoding="utf-8")
    given = ("--model", dropping, "--length", 5, "--seed", 1, "--json")
    code, out, err = run("charlm-gen", "--prompts", prompts, *given)
    assert code == 0
    assert [json.loads(line).get("lacking") for line in out.splitlines()] == [1, None, 2]
    assert len(err) == 2
    assert err[1].startswith("charlm-gen: 3 of the prompts' characters are not among")
    code, out, err = run("charlm-gen", "一龘", *given, "--samples", 3)
    assert err[-1].startswith("charlm-gen: 1 of the prompt's characters is not among")
    stopped = Request("一龘", length=9, stop=tuple(Generator.open(dropping, "cpu").text("一")[3:4]))
    (found,) = Generator.open(dropping, "cpu").batch([stopped])
    assert getattr(found, "lacking", None) == 1


@pytest.mark.parametrize("scorer", [Scorer, SegmentScorer, WindowScorer])
def test_scores_count_the_replaced_as_the_replacement(
    replacing: Path, dropping: Path, scorer: type
) -> None:
    settings = (5,) if scorer is WindowScorer else ()
    text = "一丁龘七" * 20
    for path, counted, lost in (
        (replacing, text.replace("龘", REPLACEMENT), (20, 0)),
        (dropping, text.replace("龘", ""), (0, 20)),
    ):
        model = Generator.open(path, "cpu").model
        found = scorer(model, *settings).score([text])
        plain = scorer(model, *settings).score([counted])
        found, plain = (getattr(each, "score", each) for each in (found, plain))
        assert (found.characters, found.bits) == (plain.characters, plain.bits)
        assert (found.replaced, found.dropped) == lost
        assert (plain.replaced, plain.dropped) == (0, 0)
        with pytest.raises(VocabularyError, match="at line 1, column 3, is not one of"):
            scorer(model, *settings, unknown="error").score([text])


def test_a_score_says_what_share_the_model_lacks(
    replacing: Path, dropping: Path, run: Command, tmp_path: Path
) -> None:
    text = tmp_path / "t.txt"
    text.write_text("一丁七万丈三上下不与" * 10 + "龘", encoding="utf-8")
    _, out, _ = run("charlm-score", text, "--model", replacing)
    assert out.endswith(
        "100 characters; the model lacks 1 of all 101 (0.99%): counted as another\n"
    )
    _, out, _ = run("charlm-score", text, "--model", dropping)
    assert out.endswith("99 characters; the model lacks 1 of all 101 (0.99%): left out\n")
    _, out, _ = run("charlm-score", text, text, "--model", replacing)
    assert out.splitlines()[-1].endswith(
        "200 characters; the model lacks 2 of all 202 (0.99%): counted as another"
    )
    _, out, _ = run("charlm-score", text, "--model", dropping, "--json")
    found = json.loads(out)["total"]
    assert (found["replaced"], found["dropped"]) == (0, 1)
    assert run("charlm-score", text, "--model", dropping, "--unknown", "error")[0] == 2
