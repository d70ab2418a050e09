"""Commands in processes of their own, forked from one that has imported Torch already.

As a script it is that process: a job is a line of JSON on stdin, `[function, arguments, folder,
stdout, stderr, variables]`, and is answered by a line, the exit code.
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What most commands need after the fork.
IMPORTED = ("torch._dynamo", "charlm.train.run", "charlm.export.export", "charlm.infer.generator")

LEFT = "a pipe that nobody reads any more"


class Forks:
    """Runs the main functions of commands."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.server = subprocess.Popen(
            [sys.executable, "-W", "error", __file__],
            cwd=ROOT,
            env={**os.environ, "PYTHONUTF8": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(
        self,
        function: str,
        *arguments: object,
        folder: Path | None = None,
        together: bool = False,
        stderr: str | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """The end of a process that called `module:function`, with nothing on its stdin.

        Args:
            function: of a module that can be imported.
            arguments: `sys.argv`, with the name of the program.
            folder: where it runs; here if None.
            together: stderr goes where stdout goes.
            stderr: another file that it goes to, or `LEFT`.
            variables: of the environment, beside those of this process.
        """
        out = self.scratch / "stdout"
        error = out if together else self.scratch / "stderr"
        error.touch()
        given = list(map(str, arguments))
        paths = str(folder or Path.cwd()), str(out), stderr or str(error)
        job = [function, given, *paths, variables or {}]
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(job) + "\n")
        self.server.stdin.flush()
        code = json.loads(self.server.stdout.readline())
        shown, said = (path.read_text(encoding="utf-8") for path in (out, error))
        return subprocess.CompletedProcess(given, code, shown, said)

    def close(self) -> None:
        """End the process that forks."""
        self.server.communicate()


def left() -> int:
    """The end for writing of a pipe."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def call(
    function: str,
    arguments: list[str],
    folder: str,
    out: str,
    error: str,
    variables: dict[str, str],
) -> None:
    """What a forked process does; it never returns."""
    code = 1
    try:
        os.chdir(folder)
        os.environ.update(variables)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for path, stream in ((out, 1), (error, 2)):
            os.dup2(os.open(path, flags) if path != LEFT else left(), stream)
        sys.argv = arguments
        module, name = function.split(":")
        getattr(importlib.import_module(module), name)()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException as problem:
        sys.excepthook(type(problem), problem, problem.__traceback__)
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            code = 120  # Python's own
        os._exit(code)  # at once: taking the interpreter apart takes a second


def serve() -> None:
    """Fork a process for each job."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for module in IMPORTED:
        importlib.import_module(module)
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            call(*json.loads(line))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps(code), file=answers, flush=True)


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    serve()
