"""Beginning and resuming through the command: each mistake is one line, and costs nothing."""

import errno
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from charlm.data.text import ids
from charlm.train import loop, memory
from charlm.train.config import ModelConfig
from charlm.train.evaluate import bits_per_character
from charlm.train.optim import objective
from charlm.train.runs import model_card, run_folder
from charlm.train.runs.checkpoint import FILE, FORMAT, Checkpoint
from charlm.train.setup import start

Train = Callable[..., tuple[int, list[str]]]
FAST = [
    "--hidden", "8", "--epochs", "1", "--batch-size", "4", "--seq-len", "32", "--threads", "1",
    "--device", "cpu",
]  # fmt: skip


@pytest.fixture
def finished(tiny_run: Path, tmp_path: Path) -> Path:
    """A finished run that a test may change."""
    return Path(shutil.copytree(tiny_run, tmp_path / "finished"))


@pytest.fixture
def stopped(tiny_text: Path, tmp_path: Path, train: Train) -> Path:
    """A run with one epoch behind it, that could not save any more after that."""
    folder = tmp_path / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "bits_per_character", evaluate_once())
        code, _ = train(tiny_text, "--out", folder, *FAST, "--epochs", "3")
    assert code == 130
    assert Checkpoint.load(folder).progress.epoch == 1
    return folder


def evaluate_once() -> Callable[..., float]:
    calls: list[int] = []

    def evaluate(*arguments: object) -> float:
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return bits_per_character(*arguments)  # type: ignore[arg-type]

    return evaluate


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(train: Train, *arguments: object) -> str:
    """The one line with which `charlm-train` refuses."""
    code, lines = train(*arguments)
    assert code == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith("charlm-train: ")
    return lines[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "the text is empty"),
        (b"\xef\xbb\xbf", "the text is empty"),
        (b"It was a dark night.", "20 characters after normalisation.*1000 at the least"),
        (b"a" * 5000, "one distinct character, 'a'"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 100, "byte 0x89 at position 0"),
        (b"text" * 500 + b"\0" * 500, "binary data.*NUL after 2,000 characters"),
        ("caf\u00e9 ".encode("latin-1") * 500, "not utf-8: byte 0xe9 at position 3.*--encoding"),
        (b"short as streams go " * 60, "too few for 4 streams of 3000.*--batch-size"),
    ],
)
def test_a_text_that_cannot_be_learnt_from(
    text: bytes, words: str, train: Train, tmp_path: Path
) -> None:
    path, folder = tmp_path / "text.txt", tmp_path / "run"
    path.write_bytes(text)
    line = refused(train, path, "--out", folder, *FAST, "--seq-len", "3000")
    assert re.search(words, line), line
    assert not folder.exists()


def test_a_text_that_is_not_there(train: Train, tmp_path: Path) -> None:
    assert "can't read" in refused(train, tmp_path / "no.txt", "--out", tmp_path / "run")
    assert "directory" in refused(train, tmp_path, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_encoding_is_used_and_recorded(train: Train, tmp_path: Path, prose: str) -> None:
    path, folder = tmp_path / "text.txt", tmp_path / "run"
    path.write_bytes(("Caf\u00e9. " + prose).encode("cp1252", "replace"))
    assert train(path, "--out", folder, *FAST, "--encoding", "cp1252")[0] == 0
    assert "\u00e9" in run_folder.load_run(folder).vocabulary.characters
    line = refused(train, "--resume", "--out", folder, "--encoding", "latin-1")
    assert "was begun with --encoding cp1252, not latin-1" in line
    assert train("--resume", "--out", folder)[0] == 0
    assert "unknown encoding 'klingon'" in refused(train, path, "--encoding", "klingon", *FAST)


@pytest.mark.parametrize("name", ["a file/run", "/proc/run"])
def test_a_run_folder_that_cannot_be_made(
    name: str, train: Train, tmp_path: Path, tiny_text: Path
) -> None:
    (tmp_path / "a file").write_text("a file")
    line = refused(train, tiny_text, "--out", tmp_path / name, *FAST)
    assert f"can't make the run folder {tmp_path / name}" in line


def test_a_file_where_the_run_folder_would_be(
    train: Train, tmp_path: Path, tiny_text: Path
) -> None:
    (tmp_path / "a file").write_text("a file")
    for extra in ([], ["--overwrite"]):
        line = refused(train, tiny_text, "--out", tmp_path / "a file", *FAST, *extra)
        assert "a file of this name is in the way" in line
    assert (tmp_path / "a file").read_text() == "a file"


def test_a_full_disk_keeps_what_was_saved_before(
    train: Train, tmp_path: Path, tiny_text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full in the third save, when the temporary file holds all of it."""
    fsync = os.fsync
    files: list[int] = []

    def full(descriptor: int) -> None:
        files.extend([descriptor] * stat.S_ISREG(os.fstat(descriptor).st_mode))
        if len(files) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    folder = tmp_path / "run"
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(os, "fsync", full)
    code, lines = train(tiny_text, "--out", folder, *FAST)
    assert code == 2
    assert lines[1:] == [
        f"charlm-train: can't save {folder / FILE} (what was saved before is still there): "
        "no space left on device"
    ]
    assert [path.name for path in folder.iterdir()] == [FILE]
    assert Checkpoint.load(folder).progress.step == 10
    monkeypatch.undo()
    assert train("--resume", "--out", folder)[0] == 0


def test_a_diverging_loss_keeps_what_was_saved_before(
    stopped: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nan(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(logits, targets) * float("nan")

    monkeypatch.setattr(objective, "functional", SimpleNamespace(cross_entropy=nan))
    before = Checkpoint.load(stopped).progress
    derived = {name: (stopped / name).read_bytes() for name in run_folder.DERIVED[:1]}
    code, lines = train("--resume", "--out", stopped)
    assert code == 2
    assert lines[1].startswith("charlm-train: the loss is not finite at step ")
    assert "lower --lr" in lines[1]
    assert len(lines) == 2
    after = Checkpoint.load(stopped).progress
    assert after.step == before.step
    assert all(torch.equal(after.weights[name], w) for name, w in before.weights.items())
    assert {name: (stopped / name).read_bytes() for name in derived} == derived
    monkeypatch.undo()
    assert train("--resume", "--out", stopped)[0] == 0


def test_a_learning_rate_that_is_far_too_high(
    train: Train, tmp_path: Path, tiny_text: Path
) -> None:
    code, lines = train(tiny_text, "--out", tmp_path / "run", *FAST, "--lr", "1e18")
    assert code == 2
    assert "diverged" in lines[-1]
    assert "lower --lr than 1e+18" in lines[-1]
    assert Checkpoint.load(tmp_path / "run").progress.step == 0


def test_ctrl_c_before_training_is_one_line(
    train: Train, tmp_path: Path, tiny_text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(start, "read_corpus", interrupted)
    code, lines = train(tiny_text, "--out", tmp_path / "run", *FAST)
    assert (code, lines) == (
        130,
        ["charlm-train: interrupted; what was saved before is still there"],
    )


@pytest.mark.parametrize("settings", [[], ["--hidden", "9"]])
def test_a_run_is_never_overwritten_unasked(
    settings: list[str], finished: Path, tiny_text: Path, train: Train
) -> None:
    before = content(finished)
    line = refused(train, tiny_text, "--out", finished, *FAST, *settings)
    assert "holds a run already" in line
    assert "--resume" in line
    assert "--overwrite" in line
    assert content(finished) == before


def test_overwrite_throws_away_the_run_and_nothing_else(
    finished: Path, tiny_text: Path, train: Train
) -> None:
    (finished / "model.onnx").write_text("exported")
    (finished / f".{FILE}.x.tmp").write_text("left by a kill")
    code, _ = train(tiny_text, "--out", finished, *FAST, "--overwrite")
    assert code == 0
    assert run_folder.load_run(finished).model.config.hidden == 8
    assert (finished / "model.onnx").read_text() == "exported"
    assert not list(finished.glob(".*"))


@pytest.mark.parametrize(
    "mistake", [["--hidden", "0"], ["--seq-len", "4000"], ["--encoding", "ascii"]]
)
def test_a_mistake_beside_overwrite_does_not_cost_the_run(
    mistake: list[str], finished: Path, tmp_path: Path, prose: str, train: Train
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(prose + "\u00e9", encoding="utf-8")
    before = content(finished)
    refused(train, text, "--out", finished, *FAST, "--overwrite", *mistake)
    assert content(finished) == before


def test_overwrite_of_what_is_no_run_is_refused(
    train: Train, tmp_path: Path, tiny_text: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    line = refused(train, tiny_text, "--out", tmp_path, *FAST, "--overwrite")
    assert "is not a run folder: --overwrite throws away only runs" in line
    assert content(tmp_path) == {"thesis.txt": b"years of work"}


def test_overwrite_after_a_kill_in_the_first_save(
    train: Train, tmp_path: Path, tiny_text: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / f".{FILE}.x.tmp").write_text("half")
    assert train(tiny_text, "--out", folder, *FAST, "--overwrite")[0] == 0
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("name", run_folder.DERIVED)
def test_a_users_own_files_are_not_written_over(
    name: str, train: Train, tmp_path: Path, tiny_text: Path
) -> None:
    (tmp_path / name).write_text("mine")
    line = refused(train, tiny_text, "--out", tmp_path, *FAST)
    assert f"holds {name} but no training state" in line
    assert content(tmp_path) == {name: b"mine"}


def test_resume_and_overwrite_contradict_each_other(train: Train, finished: Path) -> None:
    line = refused(train, "--out", finished, "--resume", "--overwrite")
    assert "contradict" in line


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (["--hidden", "9"], "--hidden 8, not 9"),
        (["--lr", "0.5"], "--lr 0.064, not 0.5"),
        (["--epochs", "4", "--clip", "5"], "--epochs 3, not 4; --clip 1.0, not 5"),
        (["--epochs", "4", "--seed", "5"], "--seed 0, not 5 (the weights have been drawn)"),
        (["--recipe", "notebook"], "--recipe stateful, not notebook"),
        (["--final"], "--final False, not True"),
        (["--minutes", "2"], "--minutes None, not 2"),
        (["--case", "lower"], "case='keep'"),
    ],
)
def test_resume_with_other_settings_names_them(
    other: list[str], words: str, stopped: Path, train: Train
) -> None:
    before = content(stopped)
    line = refused(train, "--resume", "--out", stopped, *other)
    assert f"{stopped} was begun with " in line
    assert words in line
    assert content(stopped) == before


def test_resume_with_the_same_settings_goes_on(
    stopped: Path, tiny_text: Path, train: Train
) -> None:
    settings = [*FAST, "--epochs", "3", "--device", "auto", "--encoding", "utf-8"]
    assert train(tiny_text, "--resume", "--out", stopped, *settings)[0] == 0
    assert Checkpoint.load(stopped).progress.epoch == 3


def test_resume_with_another_text(stopped: Path, tmp_path: Path, prose: str, train: Train) -> None:
    (tmp_path / "other.txt").write_text(prose + " The end.", encoding="utf-8")
    before = content(stopped)
    line = refused(train, tmp_path / "other.txt", "--resume", "--out", stopped)
    assert "was begun with another text than" in line
    assert "sha256" in line
    assert line.endswith("to go on all the same, say --accept-changes")
    assert content(stopped) == before


def test_resume_after_the_text_was_moved(
    stopped: Path, tiny_text: Path, tmp_path: Path, train: Train
) -> None:
    moved = tmp_path / "moved.txt"
    tiny_text.rename(moved)
    try:
        line = refused(train, "--resume", "--out", stopped)
        assert f"begun with {tiny_text}, which is no longer there" in line
        assert f"charlm-train TEXT --resume --out {stopped}" in line
        assert train(moved, "--resume", "--out", stopped)[0] == 0
        assert Checkpoint.load(stopped).setup.files == (str(moved.resolve()),)
    finally:
        moved.rename(tiny_text)


def test_resume_where_nothing_was_saved(
    train: Train, tmp_path: Path, tiny_text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "nothing to resume: elsewhere" in refused(train, "--resume", "--out", "elsewhere")
    assert "no run under runs/" in refused(train, "--resume")
    assert train(tiny_text, "--resume", *FAST)[0] == 0  # with a text there is something to begin
    assert (tmp_path / "runs" / "tiny" / FILE).is_file()


def test_resume_finds_the_run_that_was_saved_last(
    stopped: Path, finished: Path, tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first save is enough: it needs no other file."""
    monkeypatch.chdir(tmp_path)
    for number, folder in enumerate((finished, stopped)):
        target = tmp_path / "runs" / folder.name
        shutil.copytree(folder, target)
        os.utime(target / FILE, (number, number))
    for name in run_folder.DERIVED:
        (tmp_path / "runs" / "stopped" / name).unlink(missing_ok=True)
    code, lines = train("--resume")
    assert code == 0
    assert lines[0].startswith(f"{Path('runs/stopped')}: ")


def test_resume_of_a_run_begun_on_another_device(
    stopped: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = torch.load(stopped / FILE, weights_only=True)
    saved["setup"]["training"]["device"] = "cuda"
    torch.save(saved, stopped / FILE)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert f"{stopped} was begun on CUDA, and " in refused(train, "--resume", "--out", stopped)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: b"not a training state",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: b"\x80\x04\x95" + whole,
        lambda whole: bytes(len(whole)),
    ],
    ids=["empty", "text", "half", "last byte gone", "another pickle", "zeros"],
)
def test_a_damaged_training_state(
    damage: Callable[[bytes], bytes], finished: Path, train: Train
) -> None:
    (finished / FILE).write_bytes(damage((finished / FILE).read_bytes()))
    before = content(finished)
    line = refused(train, "--resume", "--out", finished)
    assert f"{finished / FILE}: damaged" in line
    assert content(finished) == before


@pytest.mark.parametrize("name", ["weights", "best_weights"])
def test_weights_that_do_not_fit_their_own_settings(
    name: str, finished: Path, train: Train
) -> None:
    saved = torch.load(finished / FILE, weights_only=True)
    saved["progress"][name]["head.bias"] = torch.zeros(3)
    torch.save(saved, finished / FILE)
    before = content(finished)
    line = refused(train, "--resume", "--out", finished)
    assert f"{finished / FILE}: damaged" in line
    assert content(finished) == before


@pytest.mark.parametrize("saved", [[1, 2], torch.zeros(2), {"format": FORMAT}, {"format": 99}])
def test_a_file_of_torch_that_is_no_training_state(
    saved: object, finished: Path, train: Train
) -> None:
    torch.save(saved, finished / FILE)
    line = refused(train, "--resume", "--out", finished)
    newer = f"format 99, of a newer charlm, and this one reads {FORMAT}"
    assert "damaged, or not" in line or newer in line


@pytest.mark.parametrize("recipe", [[], ["--recipe", "notebook", "--batch-size", "64"]])
def test_a_text_that_is_mapped_gives_the_same_weights(
    recipe: list[str], train: Train, tmp_path: Path, tiny_text: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    settings = [*(FAST[:4] if recipe else FAST), "--threads", "1", "--device", "cpu", *recipe]
    assert train(tiny_text, "--out", tmp_path / "held" / "run", *settings)[0] == 0
    monkeypatch.setattr(ids, "IN_MEMORY", 0)
    assert train(tiny_text, "--out", tmp_path / "mapped" / "run", *settings)[0] == 0
    for name in (run_folder.WEIGHTS, run_folder.CARD):
        held, mapped = (tmp_path / each / "run" / name for each in ("held", "mapped"))
        assert held.read_bytes() == mapped.read_bytes()
    names = {path.name for path in (tmp_path / "mapped" / "run").iterdir()}
    assert names == {FILE, *run_folder.DERIVED}


def test_the_card_of_a_long_text_says_how_much_was_scored(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_card, "JUDGED", 100)
    run_folder.write(finished, Checkpoint.load(finished))
    card = (finished / run_folder.CARD).read_text(encoding="utf-8")
    assert "on 100 characters of the last 5 %, scored once" in card


def test_a_model_beyond_the_machines_memory_is_refused_at_once(
    train: Train, tiny_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: 1 << 30)
    line = refused(train, tiny_text, "--out", tmp_path / "run", "--hidden", "8192")
    assert "--hidden 8192 --layers 1 takes 5 GiB to train, and this machine has 1" in line
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(memory, "memory_bytes", lambda: None)
    memory.check_fits(ModelConfig(60, 8192))


def test_a_resumed_run_that_diverges_is_not_told_to_start_again(
    stopped: Path, train: Train
) -> None:
    code, lines = train("--resume", "--out", stopped, "--accept-changes", "--lr", "1e18")
    assert code == 2
    assert "go on from the last save with --resume --accept-changes and a lower --lr" in lines[-1]
    assert train("--resume", "--out", stopped, "--accept-changes", "--lr", "0.01")[0] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--muon-lr", "1e39"], "--muon-lr is at most 1e+18, not 1e+39"),
        (["--lr", "1e39"], "--lr is at most 1e+18"),
        (["--weight-decay", "1e30"], "--weight-decay is at least 0 and at most 1e+18"),
        (["--weight-decay", "1e9"], "a lower --weight-decay than 1e+09 (and --overwrite"),
        (["--lr", "100"], "where guessing takes 5."),
        (["--lr", "100", "--final"], "a lower --lr than 100"),
        (["--lr", "1e9", "--optimiser", "adam"], "a lower --lr than 1e+09"),
    ],
)
def test_what_makes_training_diverge_is_named(
    options: list[str], words: str, train: Train, tmp_path: Path, tiny_text: Path
) -> None:
    code, lines = train(tiny_text, "--out", tmp_path / "run", *FAST, *options)
    assert code == 2
    assert words in lines[-1]
