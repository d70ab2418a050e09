"""Beginning and resuming through the command: each mistake is one line, and costs nothing."""

import errno
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from charlm.data.text import ids
from charlm.train.loop import training as loop
from charlm.train.loop.training import Trainer
from charlm.train.model import CharLSTM
from charlm.train.runs import run_folder
from charlm.train.runs.checkpoint import FILE, FORMAT, Checkpoint
from charlm.train.setup import start
from tests.train.helpers import EPOCH, FAST, Train, content, refused


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
    new = tmp_path / "new"
    line = refused(train, path, "--encoding", "klingon", "--out", new, *FAST)
    assert "unknown encoding 'klingon'" in line


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a file/run", "can't make the run folder"),
        ("/proc/run", "can't make the run folder"),
        ("a file", "a file of this name is in the way"),
    ],
)
def test_a_run_folder_that_cannot_be_made(
    name: str, words: str, train: Train, tmp_path: Path, tiny_text: Path
) -> None:
    (tmp_path / "a file").write_text("a file")
    for extra in ([], ["--overwrite"]):
        line = refused(train, tiny_text, "--out", tmp_path / name, *FAST, *extra)
        assert words in line
        assert str(tmp_path / name) in line
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
    def nan(model: CharLSTM, hidden: torch.Tensor) -> torch.Tensor:
        return model.head(hidden) * float("nan")  # type: ignore[no-any-return]

    monkeypatch.setattr(CharLSTM, "logits", nan)
    before = Checkpoint.load(stopped).progress
    weights = (stopped / run_folder.WEIGHTS).read_bytes()
    code, lines = train("--resume", "--out", stopped)
    assert (code, len(lines)) == (2, 2)
    assert lines[1].startswith("charlm-train: the loss is not finite at step ")
    assert "lower --lr" in lines[1]
    after = Checkpoint.load(stopped).progress
    assert after.step == before.step
    assert all(torch.equal(after.weights[name], w) for name, w in before.weights.items())
    assert (stopped / run_folder.WEIGHTS).read_bytes() == weights
    monkeypatch.undo()
    assert train("--resume", "--out", stopped)[0] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--weight-decay", "1e9"], "a lower --weight-decay than 1e+09 (and --overwrite"),
        (["--lr", "100"], "where guessing takes 5."),
        (["--lr", "100", "--final"], "a lower --lr than 100"),
        (["--lr", "1e9", "--optimiser", "adam"], "a lower --lr than 1e+09"),
        (["--lr", "1e18"], "training diverged; start again with a lower --lr than 1e+18"),
    ],
)
def test_what_makes_training_diverge_is_named(
    options: list[str], words: str, train: Train, tmp_path: Path, tiny_text: Path
) -> None:
    code, lines = train(tiny_text, "--out", tmp_path / "run", *FAST, *options)
    assert code == 2
    assert words in lines[-1]
    assert Checkpoint.load(tmp_path / "run").progress.step == 0


def test_a_resumed_run_that_diverges_is_not_told_to_start_again(
    stopped: Path, train: Train
) -> None:
    code, lines = train("--resume", "--out", stopped, "--accept-changes", "--lr", "1e18")
    assert code == 2
    assert "go on from the last save with --resume, --accept-changes and a lower --lr" in lines[-1]
    assert train("--resume", "--out", stopped, "--accept-changes", "--lr", "0.01")[0] == 0


def test_ctrl_c_before_training_is_one_line(
    train: Train, tmp_path: Path, tiny_text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(start, "read_corpus", interrupted)
    code, lines = train(tiny_text, "--out", tmp_path / "run", *FAST)
    assert code == 130
    assert lines == ["charlm-train: interrupted; what may have been saved before is still there"]


def test_a_run_is_never_overwritten_unasked(finished: Path, tiny_text: Path, train: Train) -> None:
    before = content(finished)
    line = refused(train, tiny_text, "--out", finished, *FAST)
    assert "holds a run already" in line
    assert "--resume" in line
    assert "--overwrite" in line
    assert "contradict" in refused(train, "--out", finished, "--resume", "--overwrite")
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
    (tmp_path / f".{FILE}.x.tmp").write_text("half")
    assert train(tiny_text, "--out", tmp_path, *FAST, "--overwrite")[0] == 0
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", [*run_folder.DERIVED, *run_folder.REPORTS])
def test_a_users_own_files_are_not_written_over(
    name: str, train: Train, tmp_path: Path, tiny_text: Path
) -> None:
    (tmp_path / name).write_text("mine")
    line = refused(train, tiny_text, "--out", tmp_path, *FAST)
    assert f"holds {name} but no training state" in line
    assert content(tmp_path) == {name: b"mine"}


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
        (tmp_path / "runs" / stopped.name / name).unlink(missing_ok=True)
    code, lines = train("--resume")
    assert code == 0
    assert lines[0].startswith(f"{Path('runs') / stopped.name}: ")


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"not a training state",
        lambda whole: whole[:-1],
        lambda whole: b"\x80\x04\x95" + whole,
    ],
    ids=["text", "last byte gone", "another pickle"],
)
def test_a_damaged_training_state(
    damage: Callable[[bytes], bytes], finished: Path, train: Train
) -> None:
    (finished / FILE).write_bytes(damage((finished / FILE).read_bytes()))
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
    recipe: list[str],
    train: Train,
    tmp_path: Path,
    tiny_text: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = [*FAST[:4], *FAST[-4:], *recipe] if recipe else FAST
    assert train(tiny_text, "--out", tmp_path / "held" / "run", *settings)[0] == 0
    monkeypatch.setattr(ids, "IN_MEMORY", 0)
    assert train(tiny_text, "--out", tmp_path / "mapped" / "run", *settings)[0] == 0
    for name in (run_folder.WEIGHTS, run_folder.CARD):
        held, mapped = (tmp_path / each / "run" / name for each in ("held", "mapped"))
        assert held.read_bytes() == mapped.read_bytes()
    names = {path.name for path in (tmp_path / "mapped" / "run").iterdir()}
    assert names == {FILE, *run_folder.DERIVED}


def test_a_text_cut_anew_in_the_warm_up_is_refused(
    tiny_text: Path, tmp_path: Path, prose: str, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its number of steps is fixed, a run with a budget has nothing that could be kept."""

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_warm_up", interrupted)
    folder, longer = tmp_path / "new", tmp_path / "longer.txt"
    longer.write_text(prose + prose[:EPOCH], encoding="utf-8")
    assert train(tiny_text, "--out", folder, *FAST[:2], *FAST[4:], "--minutes", "1")[0] == 130
    code, lines = train(longer, "--resume", "--out", folder, "--accept-changes")
    assert code == 2
    assert "still in the warm-up" in lines[-1]
