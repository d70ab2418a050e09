"""Training in several processes: real ones, that talk through gloo, and really die.

They end where one process does within rounding, and where they themselves do bit for bit.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from charlm.data.system import console
from charlm.data.system.errors import SettingsError
from charlm.data.text.corpus import Splits
from charlm.train import cli, run
from charlm.train.config import Options
from charlm.train.loop.display import Observer
from charlm.train.loop.distributed import (
    ALONE,
    Group,
    LostRankError,
    joined_group,
    losses_explained,
    named_group,
)
from charlm.train.loop.training import Trainer
from charlm.train.run import start_together
from charlm.train.runs import run_folder
from charlm.train.runs.checkpoint import FILE, Checkpoint
from charlm.train.setup.start import RunRequest, Started

DRIVER = Path(__file__).with_name("rank_driver.py")
SETTINGS = [
    "--layers", "2", "--hidden", "12", "--batch-size", "4", "--seq-len", "60", "--epochs", "2",
    "--dropout", "0.3", "--output-dropout", "0.2", "--weight-decay", "0.1",
    "--lr", "0.02", "--seed", "11", "--device", "cpu", "--no-report",
]  # fmt: skip
SHORT = ["--epochs", "1"]
EPOCH = 23  # steps: a stream has 1,349 targets


class Forked:
    """Runs of several processes, forked from one that has Torch already."""

    def __init__(self, folder: Path) -> None:
        self.errors = (folder / f"stderr-{number}.txt" for number in itertools.count())
        self.server = subprocess.Popen(
            [sys.executable, "-W", "error", str(DRIVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(
        self, processes: int, moment: str, *arguments: object
    ) -> tuple[list[int], list[str]]:
        """Exit codes by rank, and what all of them wrote to stderr, in lines."""
        errors = next(self.errors)
        job = [processes, str(errors), moment, list(map(str, arguments))]
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(job) + "\n")
        self.server.stdin.flush()
        codes = json.loads(self.server.stdout.readline())
        return codes, errors.read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forked]:
    if os.name == "nt":
        pytest.skip("Windows can't fork")
    forked = Forked(tmp_path_factory.mktemp("forked"))
    yield forked
    forked.server.communicate(timeout=60)  # its input ends, and so does it
    assert forked.server.returncode == 0


def alone(*arguments: object) -> None:
    assert console.exit_code(cli.app, "charlm-train", list(map(str, arguments))) == 0


@pytest.fixture(scope="module")
def pair(fork: Forked, tiny_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes that nothing interrupts."""
    folder = tmp_path_factory.mktemp("pair") / "run"
    codes, lines = fork(2, "-", tiny_text, "--out", folder, *SETTINGS, *SHORT)
    assert codes == [0, 0], lines
    assert lines[0].endswith("cpu, 1 thread in each of 2 processes")
    assert lines[1].startswith("epoch 1 of 1:")
    assert lines[-2].startswith(f"{folder}: test ")
    said = [line for line in lines if line.startswith(("epoch ", str(folder), "next:"))]
    assert len(said) == 4, "only rank 0 speaks"
    return folder


def test_a_rank_is_killed_and_torchrun_starts_the_group_again(
    pair: Path, tiny_text: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "--max-restarts", "1", str(DRIVER), "SIGKILL:1:13",
        str(tiny_text), "--resume", "--out", str(folder), *SETTINGS, *SHORT,
    ]  # fmt: skip
    environment = os.environ | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=240, check=False, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    ours = [line for line in ended.stderr.splitlines() if line.startswith("charlm-train: ")]
    assert ours == [
        f"charlm-train: rank 1 died, or the connection to it was lost, at step 13: "
        f"go on from the last save with --resume --out {folder}"
    ]
    assert "resumed at step 10" in ended.stderr
    weights = (folder / run_folder.WEIGHTS).read_bytes()
    assert weights == (pair / run_folder.WEIGHTS).read_bytes()
    again, before = Checkpoint.load(folder).progress, Checkpoint.load(pair).progress
    assert again.carried is not None
    assert before.carried is not None
    assert torch.equal(again.rng, before.rng)
    assert torch.equal(again.carried[1], before.carried[1])
    assert again.test_bits == before.test_bits
    assert (pair / FILE).is_file(), "a state of one process"
    assert before.step == EPOCH
    assert all("." in name and "module" not in name for name in before.weights)


def test_two_processes_are_stopped_and_one_goes_on_as_if_it_had_always_been_alone(
    fork: Forked, tiny_text: Path, tmp_path: Path
) -> None:
    folder, whole = tmp_path / "run", tmp_path / "whole"
    alone(tiny_text, "--out", whole, *SETTINGS)
    codes, lines = fork(2, f"SIGINT:1:{EPOCH + 8}", tiny_text, "--out", folder, *SETTINGS)
    assert codes == [128 + signal.SIGINT] * 2
    assert lines[-1] == (  # the processes agree every fifth step
        f"stopped and saved at step {EPOCH + 12}; go on with: charlm-train --resume --out {folder}"
    )
    stopped = Checkpoint.load(folder).progress
    assert stopped.step == EPOCH + 12
    assert stopped.loss_characters == 4 * 60 * 12
    assert stopped.carried is not None
    assert stopped.carried[0].shape == (2, 4, 12)
    alone("--resume", "--out", folder)
    assert_close(folder, whole)


def assert_close(folder: Path, other: Path) -> None:
    one, two = Checkpoint.load(folder).progress, Checkpoint.load(other).progress
    assert one.finished
    for name, weights in one.weights.items():
        torch.testing.assert_close(weights, two.weights[name], rtol=1e-4, atol=1e-5)
    for left, right in zip(one.metrics, two.metrics, strict=True):
        assert (left["step"], left["epoch"], left["lr"]) == (
            right["step"],
            right["epoch"],
            right["lr"],
        )
        for key in ("train_bits", "validation_bits"):
            assert left[key] == pytest.approx(right[key], abs=1e-4)
    assert one.test_bits == pytest.approx(two.test_bits, abs=1e-4)


def test_a_budget_of_time_is_one_number_of_steps_for_all(
    fork: Forked, tiny_text: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    given = [*SETTINGS[:8], "--minutes", "0.0001", "--device", "cpu"]
    codes, lines = fork(2, "-", tiny_text, "--out", folder, *given)
    assert codes == [0, 0], lines
    assert Checkpoint.load(folder).progress.step == 5 + 10 + 1  # untimed, timed, and one at least


def test_a_mistake_is_one_line_however_many_processes(
    fork: Forked, tiny_text: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    codes, lines = fork(3, "-", tiny_text, "--out", folder, *SETTINGS)
    assert codes == [2, 2, 2]
    assert lines == [
        "charlm-train: --batch-size 4 is the streams of all 3 processes, which can't share them "
        "equally: make it 3 or 6, or start another number of processes"
    ]
    assert not folder.exists()


NAMES = {"MASTER_ADDR": "localhost", "MASTER_PORT": "1", "WORLD_SIZE": "4"}


def test_who_a_process_is() -> None:
    assert named_group({}) == named_group({"RANK": "1", "WORLD_SIZE": "4"}) == ALONE
    assert named_group(NAMES | {"RANK": "3"}) == Group(3, 4, 3, 4)
    local = {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    assert named_group(NAMES | local | {"RANK": "3"}) == Group(3, 4, 1, 2)


@pytest.mark.parametrize(("rank", "words"), [("4", "RANK 4 .* not below"), ("x", "is no number")])
def test_an_environment_that_names_no_process(rank: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        named_group(NAMES | {"RANK": rank})


def test_a_group_that_cannot_be_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (NAMES | {"RANK": "0", "MASTER_PORT": "not-a-port"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LostRankError, match="rank 0 can't reach the others at localhost:"):
        joined_group().__enter__()


def test_only_a_lost_connection_is_called_one() -> None:
    def fail(message: str, group: Group) -> None:
        with losses_explained(group, lambda: "at step 3: go on"):
            raise RuntimeError(message)

    lost = "[/gloo/transport/tcp/pair.cc:553] Connection closed by peer [::1]:2"
    with pytest.raises(LostRankError, match=r"another rank died.*at step 3: go on"):
        fail(lost, Group(1, 3))
    with pytest.raises(RuntimeError, match=r"pair\.cc"):
        fail(lost, ALONE)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        fail("mat1 and mat2 shapes cannot be multiplied", Group(1, 3))


class Pretended(Group):
    """Rank 0 of a group whose other processes agree with it."""

    def from_first(self, function: Any) -> Any:
        return function()

    def any(self, flag: bool) -> bool:
        return flag

    def replicate(self, module: torch.nn.Module) -> torch.nn.Module:
        return module


def test_a_rank_that_is_lost_after_the_last_step_is_not_lost_before_the_first(
    begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(group: Group, number: int) -> int:
        raise RuntimeError("[/gloo/transport/tcp/pair.cc:553] Connection closed by peer")

    monkeypatch.setattr(Trainer, "run", lambda trainer, observer: False)
    monkeypatch.setattr(Group, "highest", lost)
    saved = Checkpoint.load(begun)
    ids = np.zeros(5000, dtype=np.uint8)
    started = Started(Path("r"), saved.setup, Splits(ids, ids, ids), saved.progress)
    group = Pretended(0, 2)
    with pytest.raises(LostRankError, match="at step 50: go on from the last save with --resume"):
        run._run(started, group, Observer())


@pytest.mark.parametrize("options", [{}, {"device": "auto"}, {"device": "cuda"}])
def test_more_processes_than_gpus(
    options: Options, tiny_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    request = RunRequest((tiny_text,), tmp_path / "run", options=options)
    with pytest.raises(SettingsError, match=r"rank 0's: 1 and 2.*`device` cpu"):
        start_together(request, Pretended(0, 2, 0, 2))
    assert not (tmp_path / "run").exists()
