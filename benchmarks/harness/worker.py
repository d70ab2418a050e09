"""The process that a case runs in: `python -m charlm.benchmarks.harness.worker TARGET SETTINGS`.

The target is `module:function`, which gives the case's `Run`. It speaks JSON lines. On stdout:
`ready` once prepared, `done` after each trial, `ended` with the peak of its memory, or `failed`
with the reason. On stdin: `trial` and `end`. It answers one request at a time and sleeps between
them. With `--first` it prints one character and ends, for measuring the whole process from
outside.
"""

import importlib
import json
import os
import sys
import time
from typing import IO, Any

from charlm.benchmarks.harness.settings import CaseSettings, Run, reason_of
from charlm.benchmarks.harness.start import own_peak


def main(arguments: list[str]) -> int:
    """Serve trials until told to end; the exit code."""
    first = arguments[:1] == ["--first"]
    target, settings = arguments[1:] if first else arguments
    with _own_stdout() as out:
        try:
            run = load(target)(CaseSettings.from_json(settings))
            if first:
                out.write(f"{run(1)}\n")
            else:
                serve(run, sys.stdin, out)
        except Exception as problem:
            if first:
                print(reason_of(problem), file=sys.stderr)
            else:
                _send(out, event="failed", reason=reason_of(problem))
            return 1
    return 0


def load(target: str) -> Any:
    """The function that `module:function` names."""
    module, _, function = target.partition(":")
    return getattr(importlib.import_module(module), function)


def serve(run: Run, requests: IO[str], out: IO[str]) -> None:
    """Answer requests, one JSON object a line, until `end` or the end of the file."""
    _send(out, event="ready")
    for line in requests:
        request = json.loads(line)
        if request["do"] == "end":
            break
        begun = time.perf_counter()
        run(request["units"])
        _send(out, event="done", seconds=time.perf_counter() - begun)
    _send(out, event="ended", peak_bytes=own_peak())


def _own_stdout() -> IO[str]:
    """Standard output for the protocol alone: whatever libraries print goes to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(kept, "w", encoding="utf-8", newline="\n")


def _send(out: IO[str], **message: object) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
