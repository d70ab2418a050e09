"""Freed memory stays with the process, so that a step's blocks are not faulted in again."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from charlm.train.memory import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
for turn in range(8):
    if turn == 3:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * (48 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    command = [sys.executable, "-c", SCRIPT, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_blocks_are_reused_without_page_faults() -> None:
    assert faults("kept") < 1_000
    assert faults("as ever") > 50_000
