"""Resuming with another text, other settings or other versions: said, asked, and then done."""

import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from charlm.train.config import TrainingConfig
from charlm.train.loop.evaluate import bits_per_character
from charlm.train.optim.optimisers import share_of_peak
from charlm.train.runs import resume, run_folder
from charlm.train.runs.checkpoint import FILE, Checkpoint, Progress, current_versions
from charlm.train.runs.resume import adapted
from tests.train.helpers import EPOCH, FAST, Train, content, refused

STOPPED = EPOCH + 7
NOW = current_versions()


def rewrite(folder: Path, **changes: Any) -> None:
    """Change fields of the saved setup; None takes one out."""
    saved = torch.load(folder / FILE, weights_only=True)
    for name, value in changes.items():
        saved["setup"][name] = value
        if value is None:
            del saved["setup"][name]
    torch.save(saved, folder / FILE)


def goes_on(train: Train, *arguments: object) -> None:
    assert train(*arguments, "--resume", "--accept-changes")[0] == 0


def ended(folder: Path) -> Checkpoint:
    saved = Checkpoint.load(folder)
    assert saved.progress.finished
    assert saved.progress.step == saved.progress.total_steps
    return saved


def test_another_version_is_asked_about(stopped: Path, train: Train) -> None:
    assert Checkpoint.load(stopped).setup.versions == NOW
    rewrite(stopped, versions=NOW | {"torch": "1.0", "numpy": "2.0"})
    before = content(stopped)
    line = refused(train, "--resume", "--out", stopped)
    said = f"was begun with torch 1.0, not {NOW['torch']}; numpy 2.0, not {NOW['numpy']}: "
    assert said in line
    assert line.endswith("say --accept-changes")
    assert content(stopped) == before
    code, lines = train("--resume", "--out", stopped, "--accept-changes")
    assert code == 0
    assert lines[0] == f"{stopped} was begun with torch 1.0, not {NOW['torch']}"
    assert ended(stopped).setup.versions == NOW


def test_a_state_without_versions_goes_on_and_says_so(stopped: Path, train: Train) -> None:
    rewrite(stopped, versions=None)
    code, lines = train("--resume", "--out", stopped)
    assert code == 0
    assert lines[0].endswith("that the run was saved with are unknown")
    assert ended(stopped).setup.versions == NOW


def test_of_a_finished_run_versions_do_not_matter(finished: Path, train: Train) -> None:
    rewrite(finished, versions=NOW | {"torch": "1.0"})
    code, lines = train("--resume", "--out", finished)
    assert code == 0
    assert "is finished already" in lines[-1]


class Terminal(io.StringIO):
    """A standard input at which someone sits."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "yes"),
    [("y\n", True), (" YES \n", True), ("n\n", False), ("", False), ("yesterday", False)],
)
def test_a_person_is_asked_and_anything_but_yes_is_no(
    answer: str, yes: bool, stopped: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    before = content(stopped)
    code, lines = train("--resume", "--out", stopped, "--lr", "0.5")
    assert lines[0] == f"{stopped} was begun with --lr 0.064, not 0.5"
    assert lines[1].startswith("go on? [y/N] ")
    assert code == (0 if yes else 2)
    if not yes:
        assert lines[-1].endswith(f"charlm-train: {stopped} was left as it is")
        assert content(stopped) == before


def test_the_same_settings_change_nothing(
    stopped: Path, begun: Path, tiny_text: Path, tmp_path: Path, train: Train
) -> None:
    other = Path(shutil.copytree(begun, tmp_path / "other" / "run"))
    assert train("--resume", "--out", stopped)[0] == 0
    same = [*FAST, "--epochs", "3", "--device", "auto", "--encoding", "utf-8", "--lr", "0.064"]
    assert train(tiny_text, "--resume", "--out", other, *same)[0] == 0
    weights = run_folder.WEIGHTS
    assert (stopped / weights).read_bytes() == (other / weights).read_bytes()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (["--lr", "0.5"], "--lr 0.064, not 0.5"),
        (["--epochs", "4", "--clip", "5"], "--epochs 3, not 4; --clip 1.0, not 5"),
        (["--minutes", "2"], "--minutes none, not 2"),
        (["--batch-size", "8"], f"(epoch 2 then begins anew, after {STOPPED} steps), say --accept"),
    ],
)
def test_other_settings_are_named(
    other: list[str], words: str, stopped: Path, train: Train
) -> None:
    before = content(stopped)
    line = refused(train, "--resume", "--out", stopped, *other)
    assert f"{stopped} was begun with " in line
    assert words in line
    assert content(stopped) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--hidden", "9"], "--hidden 8, not 9 (the weights have that shape)"),
        (["--layers", "2"], "the weights have that shape"),
        (["--recipe", "notebook"], "--recipe stateful, not notebook (the recipes read the text"),
        (["--optimiser", "adam"], "what it remembers is of another kind"),
        (["--final"], "--final False, not True (what was held out would be learnt from"),
        (["--epochs", "4", "--seed", "5"], "--seed 0, not 5 (the weights have been drawn)"),
        (["--case", "lower"], "case='keep'"),
        (["--rare", "drop"], "the text would have other token ids"),
        (["--encoding", "latin-1"], "the text would have other token ids"),
    ],
)
def test_what_cannot_change_is_refused_with_the_reason(
    options: list[str], words: str, stopped: Path, train: Train
) -> None:
    before = content(stopped)
    line = refused(train, "--resume", "--out", stopped, "--accept-changes", *options)
    assert words in line
    assert content(stopped) == before


def test_more_epochs_continue_the_schedule_of_the_longer_run(stopped: Path, train: Train) -> None:
    """The rate at each step is what a run of five epochs has there."""
    goes_on(train, "--out", stopped, "--epochs", "5")
    saved = ended(stopped)
    assert (saved.progress.step, saved.progress.epoch) == (5 * EPOCH, 5)
    second = saved.progress.metrics[1]
    assert second["step"] == 2 * EPOCH
    assert second["lr"] == pytest.approx(0.064 * share_of_peak(2 * EPOCH, 5 * EPOCH))
    assert saved.setup.training.epochs == 5


def test_figures_of_another_text_are_forgotten_and_the_warm_up_stays(stopped: Path) -> None:
    saved = Checkpoint.load(stopped)
    progress = replace(
        saved.progress, stale_epochs=3, schedule={"total_steps": 9, "taken": STOPPED - 4}
    )
    same = adapted(progress, saved.setup, saved.setup, EPOCH)
    assert (same.best_bits, same.stale_epochs) == (progress.best_bits, 3)
    other = adapted(progress, saved.setup, replace(saved.setup, sha256="another"), EPOCH)
    assert (other.best_bits, other.stale_epochs) == (None, 0)
    assert other.total_steps is not None
    assert other.schedule == {"total_steps": other.total_steps - 4, "taken": STOPPED - 4}


def test_fewer_epochs_end_sooner_and_too_few_are_refused(stopped: Path, train: Train) -> None:
    code, lines = train("--resume", "--out", stopped, "--accept-changes", "--epochs", "1")
    assert code == 2
    assert f"nothing is left to train at step {STOPPED}" in lines[-1]
    goes_on(train, "--out", stopped, "--epochs", "2")
    assert ended(stopped).progress.step == 2 * EPOCH


def test_a_finished_run_gets_more_epochs(stopped: Path, train: Train) -> None:
    assert train("--resume", "--out", stopped)[0] == 0
    code, lines = train("--resume", "--out", stopped, "--accept-changes", "--clip", "0.5")
    assert code == 2
    assert "nothing is left to train" in lines[-1]
    assert ended(stopped).setup.training.clip == 1.0
    goes_on(train, "--out", stopped, "--epochs", "4")
    assert ended(stopped).progress.step == 4 * EPOCH


def test_what_was_read_counts_where_a_run_ended_within_an_epoch() -> None:
    """By its minutes, say: 16 steps of 36."""
    progress = Progress({}, {}, torch.tensor(0), step=16, epoch=1, metrics=[{"epoch": 0.4444}])
    resume._set_length(progress, replace(TrainingConfig(), epochs=2, minutes=None), 36)
    assert progress.total_steps == 72


def test_epochs_go_on_from_what_was_read(stopped: Path, train: Train) -> None:
    saved = Checkpoint.load(stopped)
    saved.progress.metrics[0]["epoch"] = 0.5
    saved.save(stopped)
    assert train("--resume", "--out", stopped)[0] == 0
    assert [each["epoch"] for each in ended(stopped).progress.metrics] == [0.5, 1.5, 2.5]


def test_rates_take_effect_at_once(stopped: Path, train: Train) -> None:
    options = ["--lr", "0.004", "--muon-lr", "0.01", "--clip", "0.5", "--patience", "9"]
    goes_on(train, "--out", stopped, *options, "--weight-decay", "0.03")
    saved = ended(stopped)
    adam, muon = (part["param_groups"] for part in saved.progress.optimiser["parts"])
    assert (adam[0]["peak"], muon[0]["peak"]) == (0.004, 0.01)
    decays = [group["weight_decay"] for group in (*adam, *muon)]
    assert decays == [0.03, 0.0, 0.03], "biases have none"
    assert saved.progress.metrics[1]["lr"] == pytest.approx(
        0.004 * share_of_peak(2 * EPOCH, 3 * EPOCH)
    )


def test_a_budget_of_minutes_cuts_a_run_short(stopped: Path, train: Train) -> None:
    seconds = Checkpoint.load(stopped).progress.seconds
    minutes = seconds * (STOPPED + 10) / STOPPED / 60
    goes_on(train, "--out", stopped, "--minutes", minutes)
    assert ended(stopped).progress.step == pytest.approx(STOPPED + 10, abs=1)


@pytest.mark.parametrize(
    ("options", "steps"), [(["--batch-size", "8"], 22), (["--seq-len", "100"], 14)]
)
def test_another_cut_of_the_text_begins_the_epoch_anew(
    options: list[str], steps: int, stopped: Path, train: Train
) -> None:
    goes_on(train, "--out", stopped, *options)
    assert ended(stopped).progress.step == STOPPED + 2 * steps


def test_a_run_begun_on_a_gpu_goes_on_without_one(
    stopped: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = torch.load(stopped / FILE, weights_only=True)["setup"]["training"]
    on_gpu = {"device": "cuda", "autocast": "bf16", "tf32": True, "step": "graph"}
    rewrite(stopped, training=training | on_gpu)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert f"{stopped} was begun on CUDA, and " in refused(train, "--resume", "--out", stopped)
    changed = (
        "--device cuda, not cpu; --autocast bf16, not none; --step graph, not eager; "
        "--tf32 True, not False"
    )
    assert changed in refused(train, "--resume", "--out", stopped, "--device", "cpu")
    goes_on(train, "--out", stopped, "--device", "cpu")
    assert ended(stopped).setup.training.device == "cpu"


@pytest.fixture
def longer(tmp_path: Path, prose: str) -> Path:
    path = tmp_path / "longer.txt"
    path.write_text(prose + prose[: len(prose) // 2], encoding="utf-8", newline="\n")
    return path


def test_another_text_is_learnt_from_once_accepted(
    longer: Path, stopped: Path, train: Train
) -> None:
    line = refused(train, longer, "--resume", "--out", stopped)
    assert f"another text than {longer} (sha256 " in line
    assert "(epoch 2 then begins anew" in line
    old = Checkpoint.load(stopped)
    goes_on(train, longer, "--out", stopped)
    saved = ended(stopped)
    assert saved.setup.files == (str(longer.resolve()),)
    assert saved.setup.sha256 != old.setup.sha256
    assert sum(saved.setup.initial) == 9000 * 90 // 100
    assert saved.progress.step == STOPPED + 2 * 64
    assert saved.progress.best_epoch > 1, "the figures of another text are not compared with"
    run = run_folder.load_run(stopped)
    validation = run.vocabulary.encode(longer.read_text(encoding="utf-8")[8100:8550])
    found = bits_per_character(run.model, validation)
    assert run.summary["results"]["validation_bits_per_character"] == pytest.approx(found, abs=1e-4)


@pytest.mark.parametrize(
    ("keep", "added", "words"),
    [
        (9000, "\u4e00", "'\u4e00' (U+4E00) is outside the model's vocabulary"),
        (25, "", "25 characters after normalisation, and a model needs 1000 at the least"),
    ],
)
def test_a_text_that_the_run_cannot_read_is_refused(
    keep: int, added: str, words: str, longer: Path, stopped: Path, train: Train
) -> None:
    text = longer.read_text(encoding="utf-8")[:keep] + added
    longer.write_text(text, encoding="utf-8")
    before = content(stopped)
    cut = ["--batch-size", "1", "--seq-len", "10"]
    code, lines = train(longer, "--resume", "--out", stopped, "--accept-changes", *cut)
    assert code == 2
    assert words in lines[-1]
    assert content(stopped) == before
