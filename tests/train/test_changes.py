"""Resuming with another text, other settings or other versions: said, asked, and then done."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from charlm.train import loop
from charlm.train.evaluate import bits_per_character
from charlm.train.optim.schedule import share_of_peak
from charlm.train.runs import run_folder, versions
from charlm.train.runs.checkpoint import FILE, Checkpoint

Train = Callable[..., tuple[int, list[str]]]
FAST = [
    "--hidden", "8", "--epochs", "3", "--batch-size", "4", "--seq-len", "32", "--threads", "1",
    "--device", "cpu",
]  # fmt: skip
EPOCH = 43  # steps
STOPPED = EPOCH + 7


@pytest.fixture(scope="module")
def begun(tiny_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs, stopped in its second."""
    from charlm.data.system import console
    from charlm.train import cli
    from charlm.train.progress import Display

    folder = tmp_path_factory.mktemp("begun") / "run"
    asked: list[int] = []

    def must_stop(display: Display) -> bool:
        asked.append(1)
        return len(asked) == STOPPED

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Display, "must_stop", must_stop)
        arguments = [str(tiny_text), "--out", str(folder), *FAST]
        assert console.exit_code(cli.app, "charlm-train", arguments) == 128
    assert Checkpoint.load(folder).progress.step == STOPPED
    return folder


@pytest.fixture
def stopped(begun: Path, tmp_path: Path) -> Path:
    """The same, for a test to change."""
    return Path(shutil.copytree(begun, tmp_path / "run"))


def rewrite(folder: Path, **changes: Any) -> None:
    """Change fields of the saved setup; None takes one out."""
    saved = torch.load(folder / FILE, weights_only=True)
    for name, value in changes.items():
        saved["setup"][name] = value
        if value is None:
            del saved["setup"][name]
    torch.save(saved, folder / FILE)


def finished(folder: Path) -> Checkpoint:
    saved = Checkpoint.load(folder)
    assert saved.progress.finished
    assert saved.progress.step == saved.progress.total_steps
    return saved


# Versions


def test_versions_are_recorded(stopped: Path) -> None:
    assert Checkpoint.load(stopped).setup.versions == versions.current()


def test_another_version_is_asked_about(stopped: Path, train: Train) -> None:
    rewrite(stopped, versions=versions.current() | {"torch": "1.0", "numpy": "2.0"})
    before = (stopped / FILE).read_bytes()
    code, lines = train("--resume", "--out", stopped)
    now = versions.current()
    assert (code, len(lines)) == (2, 1)
    said = f"was begun with torch 1.0, not {now['torch']}; numpy 2.0, not {now['numpy']}: "
    assert said in lines[0]
    assert lines[0].endswith("say --accept-changes")
    assert (stopped / FILE).read_bytes() == before
    code, lines = train("--resume", "--out", stopped, "--accept-changes")
    assert code == 0
    assert lines[0] == f"{stopped} was begun with torch 1.0, not {now['torch']}"
    assert finished(stopped).setup.versions == now


def test_a_state_without_versions_goes_on_and_says_so(stopped: Path, train: Train) -> None:
    rewrite(stopped, versions=None)
    code, lines = train("--resume", "--out", stopped)
    assert code == 0
    assert lines[0].endswith("that the run was saved with are unknown")
    assert finished(stopped).setup.versions == versions.current()


def test_of_a_finished_run_versions_do_not_matter(
    tiny_run: Path, tmp_path: Path, train: Train
) -> None:
    folder = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    rewrite(folder, versions=versions.current() | {"torch": "1.0"})
    code, lines = train("--resume", "--out", folder)
    assert code == 0
    assert "is finished already" in lines[-1]


# Asking


class Terminal(io.StringIO):
    """A standard input at which someone sits."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["y\n", " YES \n"])
def test_a_person_is_asked(
    answer: str, stopped: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    code, lines = train("--resume", "--out", stopped, "--lr", "0.5")
    assert code == 0
    assert lines[0] == f"{stopped} was begun with --lr 0.064, not 0.5"
    assert lines[1].startswith("go on? [y/N] ")


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "yesterday\n"])
def test_anything_but_yes_is_no(
    answer: str, stopped: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    before = (stopped / FILE).read_bytes()
    code, lines = train("--resume", "--out", stopped, "--lr", "0.5")
    assert code == 2
    assert lines[-1].endswith(f"charlm-train: {stopped} was left as it is")
    assert (stopped / FILE).read_bytes() == before


# Settings


def test_nothing_accepted_changes_nothing(
    stopped: Path, begun: Path, tmp_path: Path, train: Train
) -> None:
    other = Path(shutil.copytree(begun, tmp_path / "other" / "run"))
    assert train("--resume", "--out", stopped)[0] == 0
    assert train("--resume", "--out", other, "--accept-changes", "--lr", "0.064")[0] == 0
    weights = run_folder.WEIGHTS
    assert (stopped / weights).read_bytes() == (other / weights).read_bytes()


def test_more_epochs_continue_the_schedule_of_the_longer_run(stopped: Path, train: Train) -> None:
    """The rate at each step is what a run of five epochs has there."""
    assert train("--resume", "--out", stopped, "--accept-changes", "--epochs", "5")[0] == 0
    saved = finished(stopped)
    assert (saved.progress.step, saved.progress.epoch) == (5 * EPOCH, 5)
    second = saved.progress.metrics[1]
    assert second["step"] == 2 * EPOCH
    assert second["lr"] == pytest.approx(0.064 * share_of_peak(2 * EPOCH, 5 * EPOCH))
    assert saved.setup.training.epochs == 5


def test_fewer_epochs_end_sooner_and_too_few_are_refused(stopped: Path, train: Train) -> None:
    code, lines = train("--resume", "--out", stopped, "--accept-changes", "--epochs", "1")
    assert code == 2
    assert f"nothing is left to train at step {STOPPED}" in lines[-1]
    assert train("--resume", "--out", stopped, "--accept-changes", "--epochs", "2")[0] == 0
    assert finished(stopped).progress.step == 2 * EPOCH


def test_a_finished_run_gets_more_epochs(stopped: Path, train: Train) -> None:
    assert train("--resume", "--out", stopped)[0] == 0
    code, lines = train("--resume", "--out", stopped, "--accept-changes", "--clip", "0.5")
    assert code == 2
    assert "nothing is left to train" in lines[-1]
    assert finished(stopped).setup.training.clip == 1.0
    assert train("--resume", "--out", stopped, "--accept-changes", "--epochs", "4")[0] == 0
    assert finished(stopped).progress.step == 4 * EPOCH


def test_rates_take_effect_at_once(stopped: Path, train: Train) -> None:
    options = ["--lr", "0.004", "--muon-lr", "0.01", "--clip", "0.5", "--patience", "9"]
    options += ["--weight-decay", "0.03"]
    assert train("--resume", "--out", stopped, "--accept-changes", *options)[0] == 0
    saved = finished(stopped)
    groups = [part["param_groups"][0] for part in saved.progress.optimiser["parts"]]
    assert [group["peak"] for group in groups] == [0.004, 0.01]
    assert [group["weight_decay"] for group in groups] == [0.03, 0.03]
    assert saved.progress.optimiser["parts"][0]["param_groups"][1]["weight_decay"] == 0.0
    assert saved.progress.metrics[1]["lr"] == pytest.approx(
        0.004 * share_of_peak(2 * EPOCH, 3 * EPOCH)
    )


def test_a_budget_of_minutes_cuts_a_run_short(stopped: Path, train: Train) -> None:
    seconds = Checkpoint.load(stopped).progress.seconds
    minutes = seconds * (STOPPED + 10) / STOPPED / 60
    assert train("--resume", "--out", stopped, "--accept-changes", "--minutes", minutes)[0] == 0
    assert finished(stopped).progress.step == pytest.approx(STOPPED + 10, abs=1)


@pytest.mark.parametrize(
    ("options", "steps"), [(["--batch-size", "8"], 22), (["--seq-len", "100"], 14)]
)
def test_another_cut_of_the_text_begins_the_epoch_anew(
    options: list[str], steps: int, stopped: Path, train: Train
) -> None:
    code, lines = train("--resume", "--out", stopped, *options)
    assert code == 2
    assert f"(epoch 2 then begins anew, after {STOPPED} steps), say --accept" in lines[0]
    assert train("--resume", "--out", stopped, "--accept-changes", *options)[0] == 0
    assert finished(stopped).progress.step == STOPPED + 2 * steps


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--hidden", "9"], "the weights have that shape"),
        (["--layers", "2"], "the weights have that shape"),
        (["--recipe", "notebook"], "read the text in different ways"),
        (["--optimiser", "adam"], "what it remembers is of another kind"),
        (["--final"], "what was held out would be learnt from"),
        (["--seed", "5"], "the weights have been drawn"),
        (["--case", "lower"], "the text would have other token ids"),
        (["--rare", "drop"], "the text would have other token ids"),
        (["--encoding", "latin-1"], "the text would have other token ids"),
    ],
)
def test_what_cannot_change_is_refused_with_the_reason(
    options: list[str], reason: str, stopped: Path, train: Train
) -> None:
    before = (stopped / FILE).read_bytes()
    code, lines = train("--resume", "--out", stopped, "--accept-changes", *options)
    assert (code, len(lines)) == (2, 1)
    assert reason in lines[0]
    assert (stopped / FILE).read_bytes() == before


def test_a_run_begun_on_a_gpu_goes_on_without_one(
    stopped: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = torch.load(stopped / FILE, weights_only=True)["setup"]["training"]
    rewrite(
        stopped,
        training=training | {"device": "cuda", "autocast": "bf16", "tf32": True, "step": "graph"},
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, lines = train("--resume", "--out", stopped)
    assert code == 2
    assert "was begun on CUDA" in lines[0]
    code, lines = train("--resume", "--out", stopped, "--device", "cpu")
    assert code == 2
    changed = (
        "--device cuda, not cpu; --autocast bf16, not none; --step graph, not eager; "
        "--tf32 True, not False"
    )
    assert changed in lines[0]
    assert train("--resume", "--out", stopped, "--device", "cpu", "--accept-changes")[0] == 0
    assert finished(stopped).setup.training.device == "cpu"


# Text


@pytest.fixture
def longer(tmp_path: Path, prose: str) -> Path:
    path = tmp_path / "longer.txt"
    path.write_text(prose + prose[: len(prose) // 2], encoding="utf-8", newline="\n")
    return path


def test_another_text_is_learnt_from_once_accepted(
    longer: Path, stopped: Path, train: Train
) -> None:
    code, lines = train(longer, "--resume", "--out", stopped)
    assert (code, len(lines)) == (2, 1)
    assert f"another text than {longer} (sha256 " in lines[0]
    assert "(epoch 2 then begins anew" in lines[0]
    old = Checkpoint.load(stopped)
    assert train(longer, "--resume", "--out", stopped, "--accept-changes")[0] == 0
    saved = finished(stopped)
    assert saved.setup.files == (str(longer.resolve()),)
    assert saved.setup.sha256 != old.setup.sha256
    assert sum(saved.setup.initial) == 9000 * 90 // 100
    assert saved.progress.step == STOPPED + 2 * 64
    assert saved.progress.best_epoch > 1, "the figures of another text are not compared with"
    run = run_folder.load_run(stopped)
    validation = run.vocabulary.encode(longer.read_text(encoding="utf-8")[8100:8550])
    found = bits_per_character(run.model, validation)
    assert run.summary["results"]["validation_bits_per_character"] == pytest.approx(found, abs=1e-4)


def test_a_text_with_new_characters_is_refused(longer: Path, stopped: Path, train: Train) -> None:
    longer.write_text(longer.read_text(encoding="utf-8") + "\u4e00", encoding="utf-8")
    before = (stopped / FILE).read_bytes()
    code, lines = train(longer, "--resume", "--out", stopped, "--accept-changes")
    assert code == 2
    assert "'\u4e00' (U+4E00) is outside the model's vocabulary" in lines[-1]
    assert "--init-from" in lines[-1]
    assert (stopped / FILE).read_bytes() == before


def test_a_text_too_short_to_be_judged_by_is_refused(
    stopped: Path, tmp_path: Path, prose: str, train: Train
) -> None:
    short = tmp_path / "short.txt"
    short.write_text(prose[:25], encoding="utf-8")
    before = (stopped / FILE).read_bytes()
    cut = ["--batch-size", "1", "--seq-len", "10"]
    code, lines = train(short, "--resume", "--out", stopped, "--accept-changes", *cut)
    assert code == 2
    assert "25 characters after normalisation, and a model needs 1000 at the least" in lines[-1]
    assert (stopped / FILE).read_bytes() == before


def test_a_text_cut_anew_in_the_warm_up_is_refused(
    tiny_text: Path, longer: Path, tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its number of steps is fixed, a run with a budget has nothing that could be kept."""

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.Trainer, "_warm_up", interrupted)
    folder = tmp_path / "new"
    options = [*FAST[:2], *FAST[4:], "--minutes", "1"]
    assert train(tiny_text, "--out", folder, *options)[0] == 130
    code, lines = train(longer, "--resume", "--out", folder, "--accept-changes")
    assert code == 2
    assert "still in the warm-up" in lines[-1]
