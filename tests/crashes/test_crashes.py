"""Training that is struck at random moments; four of them here, a hundred by hand."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from charlm.train.runs import run_folder
from charlm.train.runs.checkpoint import FILE
from tests.crashes import verdict
from tests.crashes.fault import Fault, Operations

ROOT = Path(__file__).parents[2]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@needs_fork
def test_kills_cost_nothing() -> None:
    command = [sys.executable, "-m", "tests.crashes", "--times", "4"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "full disk: 1 strikes" in done.stdout
    assert "unwritable folder: 1 strikes" in done.stdout
    assert len(done.stderr.splitlines()) == 6
    assert "; 0 differ" in done.stdout


@needs_fork
@pytest.mark.parametrize(
    ("phase", "left"), [("before", b""), ("halfway", b"12"), ("after", b"1234")]
)
def test_a_kill_in_a_write(phase: str, left: bytes, tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from tests.crashes.fault import Fault, Operations
Operations(Fault("kill in a file operation", operation=2, phase="{phase}")).install()
with Path("file").open("xb") as file:
    file.write(b"1234")
"""
    found = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=found, check=False)
    assert done.returncode == -9
    assert (tmp_path / "file").read_bytes() == left


def test_a_full_disk_stays_full_and_lets_files_be_removed() -> None:
    disk = Operations(Fault("full disk", operation=2))
    assert disk.perform("open", lambda: "opened") == "opened"
    written: list[str] = []
    for what in ("write", "rename"):
        with pytest.raises(OSError) as error:  # noqa: PT011 - its number is looked at
            disk.perform(what, lambda: pytest.fail("done"), lambda: written.append("half"))
        assert error.value.errno == errno.ENOSPC
    assert written == ["half", "half"]
    assert disk.perform("remove", lambda: "removed") == "removed"


def test_a_folder_that_cannot_be_written_lets_open_files_be_written() -> None:
    folder = Operations(Fault("unwritable folder", operation=1))
    assert folder.perform("write", lambda: 4) == 4
    for what in ("open", "rename", "remove"):
        with pytest.raises(PermissionError):
            folder.perform(what, lambda: pytest.fail("done"))
    assert folder.count == 4


@pytest.fixture
def folder(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "tiny"))


def test_a_run_is_readable_and_no_different_from_itself(tiny_run: Path, folder: Path) -> None:
    assert verdict.unreadable(folder) is None
    assert verdict.difference(folder, tiny_run) is None


@pytest.mark.parametrize(
    "name", [name for name in (FILE, *run_folder.DERIVED) if name != run_folder.CARD]
)
def test_a_third_of_a_file_is_noticed(name: str, folder: Path) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 3])
    assert (verdict.unreadable(folder) or "").startswith(f"{name}: ")


def test_one_bit_of_the_weights_is_noticed(tiny_run: Path, folder: Path) -> None:
    weights = load_file(folder / run_folder.WEIGHTS)
    weights["head.bias"].view(torch.int32)[0] ^= 1
    save_file(weights, folder / run_folder.WEIGHTS)
    assert verdict.difference(folder, tiny_run) == run_folder.WEIGHTS


@pytest.mark.parametrize(
    ("place", "noticed"),
    [
        (("rng", 0), True),
        (("optimiser", "parts", 0, "state", 0, "exp_avg", 0), True),
        (("best_weights", "head.bias"), True),
        (("seconds",), False),
        (("metrics", 0, "characters_per_second"), False),
    ],
)
def test_a_state_is_different_but_for_what_depends_on_the_clock(
    place: tuple[Any, ...], noticed: bool, tiny_run: Path, folder: Path
) -> None:
    saved = torch.load(folder / FILE, weights_only=True)
    *way, last = ("progress", *place)
    inner = saved
    for step in way:
        inner = inner[step]
    inner[last] = inner[last] + 1
    torch.save(saved, folder / FILE)
    found = verdict.difference(folder, tiny_run)
    assert (found or "").startswith(place[0]) if noticed else found is None


def test_a_file_that_was_left_is_a_difference(tiny_run: Path, folder: Path) -> None:
    (folder / f".{FILE}.1.tmp").write_text("half")
    assert (verdict.difference(folder, tiny_run) or "").startswith("the files: ")
