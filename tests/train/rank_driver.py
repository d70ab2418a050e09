"""Runs `charlm-train` as several processes, and strikes one of them at a chosen step.

Usage: rank_driver.py PROCESSES MOMENT ARGUMENT…

PROCESSES: how many to fork here, with what torchrun would say in their environment; 0 where
torchrun has started this one. Their exit codes are printed as a list in JSON.
MOMENT: `SIGKILL:1:13`: rank 1 gets SIGKILL after its step 13, unless torchrun has started the
group anew; `-` for none. Saves are as frequent as can be: one every five steps.
"""

import json
import os
import signal
import socket
import sys
from itertools import count
from typing import Any

import torch._dynamo

from charlm.train import cli, curve, loop, run
from charlm.train.observer import Silent
from charlm.train.progress import Display

ONCE = (torch._dynamo, curve, run)  # imported before the fork, to save every rank the time


def strike(number: signal.Signals, rank: int, step: int) -> None:
    if os.environ["RANK"] != str(rank) or os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
        return
    watches: Any = Display if rank == 0 else Silent
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


def fork(processes: int, moment: str, arguments: list[str]) -> list[int]:
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
        train(moment, arguments)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def main(processes: str, moment: str, *arguments: str) -> None:
    if int(processes) == 0:
        train(moment, list(arguments))
    else:
        print(json.dumps(fork(int(processes), moment, list(arguments))))


if __name__ == "__main__":
    main(*sys.argv[1:])
