"""One question to a process of its own: JSON on its stdout, or a reason in one line."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from charlm.benchmarks.harness import machine, pinning
from charlm.benchmarks.harness.settings import CaseFailedError
from charlm.benchmarks.harness.worker import reason_of


def ask(module: str, *arguments: object, threads: int) -> Any:
    """What `python -m charlm.benchmarks.MODULE ARGUMENTS` answers.

    Raises:
        CaseFailedError: it failed; the message is its last line.
    """
    command = [sys.executable, "-m", f"charlm.benchmarks.{module}", *map(str, arguments)]
    with pinning.pinned(threads):
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", check=False,
            env=pinning.environment(threads),
        )  # fmt: skip
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"]
        raise CaseFailedError(machine.without_paths(said[-1]))
    return json.loads(done.stdout)


def answer(work: Callable[[], Any]) -> int:
    """Print what `work` returns as JSON, or on stderr why it could not; the exit code."""
    try:
        found = work()
    except Exception as problem:
        print(reason_of(problem), file=sys.stderr)
        return 1
    print(json.dumps(found))
    return 0
