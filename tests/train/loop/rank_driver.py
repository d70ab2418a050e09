"""Runs `charlm-train` as one of several processes, and strikes one of them at a chosen step.

    rank_driver.py MOMENT ARGUMENT…   in a process that torchrun has started
    rank_driver.py                    forks such processes itself, for each job on stdin

MOMENT is `SIGKILL:1:13`, rank 1 gets SIGKILL after its step 13, unless torchrun has started the
group anew; or `-` for none. A job is a line of JSON, `[processes, file for stderr, moment,
[argument, …]]`, and is answered by a line: the list of exit codes, by rank. Forking saves each
process from importing Torch. Saves are as frequent as can be: one every five steps.
"""

import importlib
import json
import os
import signal
import socket
import sys
from itertools import count
from typing import Any

from charlm.train import cli
from charlm.train.loop import training as loop
from charlm.train.loop.display import Display, Observer


def strike(number: signal.Signals, rank: int, step: int) -> None:
    if os.environ["RANK"] != str(rank) or os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
        return
    watches: Any = Display if rank == 0 else Observer
    ask = watches.must_stop
    calls = count(1)

    def must_stop(watcher: Any) -> bool:
        if next(calls) == step:
            os.kill(os.getpid(), number)
        return bool(ask(watcher))

    watches.must_stop = must_stop


def train(moment: str, arguments: list[str]) -> None:
    loop.SAVE_SECONDS, loop.CHECK_EVERY = 0.0, 5
    if moment != "-":
        name, rank, step = moment.split(":")
        strike(signal.Signals[name], int(rank), int(step))
    sys.argv = ["charlm-train", *arguments]
    cli.main()


def fork(processes: int, errors: str, moment: str, arguments: list[str]) -> list[int]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    os.environ |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    children = []
    for rank in range(processes):
        if child := os.fork():
            children.append(child)
            continue
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND), sys.stderr.fileno())
        try:
            train(moment, arguments)
        except SystemExit as end:
            os._exit(int(end.code or 0))  # at once: taking the interpreter apart takes a second
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def serve() -> None:
    for module in ("torch._dynamo", "charlm.train.run"):  # every process needs them, after the fork
        importlib.import_module(module)
    for job in sys.stdin:
        processes, errors, moment, arguments = json.loads(job)
        print(json.dumps(fork(processes, errors, moment, arguments)), flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        train(sys.argv[1], sys.argv[2:])
    else:
        serve()
