"""A run whose stderr fails, or whose reader leaves, is trained to its end all the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from charlm.train.runs.run_folder import WEIGHTS

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
COMMAND = [sys.executable, "-m", "charlm.train"]
FAST = ["--hidden", "8", "--epochs", "2", "--batch-size", "4", "--seq-len", "32", "--device", "cpu",
        "--threads", "1", "--no-report"]  # fmt: skip


@pytest.mark.parametrize("sink", ["full", "left"])
def test_training_goes_on_in_silence(sink: str, tiny_text: Path, tmp_path: Path) -> None:
    if sink == "full":
        stderr = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, stderr = os.pipe()
        os.close(reader)
    folder = tmp_path / "run"
    try:
        done = subprocess.run(
            [*COMMAND, str(tiny_text), "--out", str(folder), *FAST], stderr=stderr, check=False
        )
        assert done.returncode == 0
        assert (folder / WEIGHTS).is_file()
        assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2
        again = subprocess.run([*COMMAND, "no.txt"], stderr=stderr, check=False, cwd=tmp_path)
        assert again.returncode == 2
    finally:
        os.close(stderr)
