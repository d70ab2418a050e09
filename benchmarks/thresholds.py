"""Where one way of doing a thing overtakes another: behind the constants of `charlm.infer`.

`NOTES.md` says which table stands behind which constant.

    python -m charlm.benchmarks.thresholds
"""

import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from charlm.benchmarks import machine, pinning
from charlm.benchmarks.forms.agreement import feed
from charlm.benchmarks.forms.turns import afresh, cell, in_turns, table
from charlm.benchmarks.generate_forms import OUTPUTS, open_form
from charlm.export import contract, generate_graph, step_graph, weights
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import (
    GENERATE,
    INT8,
    INT8_ORT,
    SEQUENCE,
    SEQUENCE_BATCH,
    TARGETS,
    TOKENS,
    sibling_path,
)
from charlm.export.int8 import Int8Products, QGemmProducts
from charlm.export.read_graph import read_graph
from charlm.export.siblings import build_siblings
from charlm.export.weights import Weights
from charlm.infer.artifact import Model
from charlm.infer.generator import Generator
from charlm.infer.session import Stepper
from charlm.infer.shipped import shipped_model
from charlm.train.config import ModelConfig
from charlm.train.model import CharLSTM, State

ROUNDS, SECONDS = 7, 0.03
AWAKE = 2.0  # seconds
CHARACTERS = 62
Calls = dict[str, Callable[[], object]]


def main() -> None:
    """Measure everything and print Markdown."""
    torch.set_num_threads(1)
    given, metadata = read_graph(shipped_model().read_bytes(), "the model that ships")
    print(f"ONNX Runtime {onnxruntime.__version__}, Torch {torch.__version__}, ", end="")
    print(f"{machine.describe('cpu').cpu}; median ×time of the first row (min - max)")
    with pinning.pinned(1):
        print(f"\n## A whole call, opening included, ms\n\n{opening(given, metadata)}")
        print(f"\n## Characters of one run, µs a character\n\n{block_lengths(given, metadata)}")
        print(f"\n## int8 by streams, µs a character\n\n{int8_streams(given, metadata)}")
        print(f"\n## Whole texts by their number, µs a character\n\n{texts(given, metadata)}")
        print(f"\n## One step from Python, µs\n\n{binding(given, metadata)}")
        print(f"\n## A window of training, µs a character\n\n{windows()}")
        print(f"\n## Its input by the number of characters, µs a character\n\n{inputs()}")
    print(f"\n## Streams shared out over two threads, µs a character\n\n{shares(given, metadata)}")
    print(f"\n## Threads of a step, batch 1, µs\n\n{step_threads()}")


def timed(calls: Calls, units: float) -> dict[str, str]:
    """A column of a table: each call's time a unit, beside the first one's."""
    times = in_turns(calls, units, ROUNDS, SECONDS)
    return {name: cell(times, name, next(iter(calls))) for name in calls}


def opening(given: Weights, metadata: Metadata) -> str:
    """Fresh generators that draw by steps and by blocks: the shortest job for which blocks pay."""
    columns = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(step_graph.build(given, metadata))
        for kind, content in build_siblings(given, metadata, [GENERATE]).items():
            sibling_path(path, kind).write_bytes(content)

        def alone(via: str, length: int) -> None:
            Generator.open(path, "cpu", 1, via=via).text("the ", length=length, seed=1)

        def together(via: str, length: int) -> None:
            generator = Generator.open(path, "cpu", 1, via=via)
            for _ in generator.samples("the ", count=64, length=length, seed=1):
                pass

        for job, streams, lengths in (
            (alone, 1, (150, 300, 600, 1200, 2400)),
            (together, 64, (31, 62, 125, 250, 500)),
        ):
            for length in lengths:
                calls: Calls = {via: partial(job, via, length) for via in ("steps", "blocks")}
                name = f"{streams} × {length}"
                columns[name] = timed(calls, 1000)
    return table("", columns)


def block_lengths(given: Weights, metadata: Metadata) -> str:
    """What a longer run gains."""
    session = open_form(build_siblings(given, metadata, [GENERATE])[GENERATE])
    columns = {}
    for batch in (1, 64):
        rounds: dict[str, str] = {}
        for steps in (16, 32, 64, 128, 256, 512, 1024):
            inputs = feed(batch, steps, metadata)
            calls: Calls = {str(steps): partial(session.run, OUTPUTS, inputs)}
            rounds |= timed(calls, batch * steps)
        columns[f"batch {batch}"] = {
            name: text.replace(" ×1.00", "") for name, text in rounds.items()
        }
    return table("characters of a stream", columns)


def int8_streams(given: Weights, metadata: Metadata) -> str:
    """Plain ONNX against ONNX Runtime's own ops."""
    contents = {
        kind.name: generate_graph.build(products(given), metadata, kind)
        for kind, products in ((INT8, Int8Products), (INT8_ORT, QGemmProducts))
    }

    def open_run(content: bytes, inputs: dict[str, Any]) -> Callable[[], object]:
        return partial(open_form(content).run, OUTPUTS, inputs)

    columns = {}
    for batch in (1, 2, 4, 8, 16, 32):
        steps = 256 // batch
        inputs = feed(batch, steps, metadata)
        openers = {name: partial(open_run, each, inputs) for name, each in contents.items()}
        times = afresh(openers, batch * steps, ROUNDS, SECONDS)
        columns[f"batch {batch}"] = {name: cell(times, name, INT8.name) for name in openers}
    return table("", columns)


def texts(given: Weights, metadata: Metadata) -> str:
    """The LSTM operator against the Scan, reading texts."""
    kinds, length = (SEQUENCE, SEQUENCE_BATCH), 128
    built = build_siblings(given, metadata, kinds)
    sessions = {kind.name: open_form(built[kind]) for kind in kinds}
    outputs = [contract.H_NEXT, contract.C_NEXT]
    columns = {}
    for batch in (1, 2, 4, 8, 16, 32):
        state = {name: each for name, each in feed(batch, 1, metadata).items() if name in "hc"}
        ids = (
            np.random.RandomState(0).randint(0, given.vocabulary, (batch, length)).astype(np.int64)
        )
        inputs = state | {TOKENS: ids, TARGETS: ids}
        calls: Calls = {name: partial(each.run, outputs, inputs) for name, each in sessions.items()}
        columns[f"{batch} texts"] = timed(calls, batch * length)
    return table("", columns)


def binding(given: Weights, metadata: Metadata) -> str:
    """The stepper, whose buffers are bound once, against passing arrays to `run`."""
    session = open_form(step_graph.build(given, metadata))
    columns = {}
    for batch in (1, 64):
        stepper = Stepper(Model(session, metadata, "cpu", 1, None), batch)
        columns[f"batch {batch}"] = timed(
            {"arrays passed to run": _passing(session, batch, metadata), "bound": stepper.step}, 1
        )
    return table("", columns)


def _passing(session: Any, batch: int, metadata: Metadata) -> Callable[[], None]:
    inputs = feed(batch, 1, metadata)
    inputs = {contract.TOKEN: np.zeros(batch, np.int64), **{name: inputs[name] for name in "hc"}}
    outputs = [contract.LOGITS, contract.H_NEXT, contract.C_NEXT]

    def step() -> None:
        _, inputs["h"], inputs["c"] = session.run(outputs, inputs)

    return step


def windows() -> str:
    """What forming and multiplying a one-hot input of 62 columns costs in training."""

    def train(model: CharLSTM, batch: int, length: int) -> Callable[[], None]:
        tokens = torch.zeros(length, batch, dtype=torch.int64)
        targets = torch.zeros(length * batch, dtype=torch.int64)

        def window() -> None:
            hidden, _ = model(tokens, model.zero_state(batch))
            logits = model.head(hidden).flatten(0, 1)
            torch.nn.functional.cross_entropy(logits, targets).backward()  # type: ignore[no-untyped-call]

        return window

    def narrow() -> CharLSTM:
        """Reads one column, writes as many characters."""
        model = CharLSTM(ModelConfig(1, 192))
        model.head = torch.nn.Linear(192, CHARACTERS)
        return model

    columns = {}
    for batch, length in ((16, 96), (32, 64)):
        calls: Calls = {
            "62 columns": train(CharLSTM(ModelConfig(CHARACTERS, 192)), batch, length),
            "one column": train(narrow(), batch, length),
        }
        columns[f"batch {batch}, window {length}"] = timed(calls, batch * length)
    return table("input", columns)


def inputs() -> str:
    """The input of a window in training, one-hot and indexed, forward and back, by characters."""

    def indexed(model: CharLSTM, tokens: torch.Tensor, state: State) -> None:
        model(tokens, state)[0].sum().backward()

    def one_hot(model: CharLSTM, tokens: torch.Tensor, state: State) -> None:
        shape = (*tokens.shape, model.config.vocabulary)
        read = torch.zeros(shape).scatter_(2, tokens.unsqueeze(2), 1.0)
        model.lstm(read, state)[0].sum().backward()

    columns = {}
    for characters in (800, 1600, 3200):  # above four times the units, where it is indexed
        model = CharLSTM(ModelConfig(characters, 192))
        given = model, torch.randint(characters, (96, 16)), model.zero_state(16)
        calls: Calls = {"one-hot": partial(one_hot, *given), "indexed": partial(indexed, *given)}
        columns[f"{characters:,} characters"] = timed(calls, given[1].numel())
    return table("input", columns)


def shares(given: Weights, metadata: Metadata) -> str:
    """Two Python threads, each with half of the streams, against one with all."""
    session = open_form(build_siblings(given, metadata, [GENERATE])[GENERATE])
    columns = {}
    with ThreadPoolExecutor(2) as pool:
        # A system may leave both threads on one core until they have been busy for a while.
        _for_seconds(AWAKE, partial(_together, pool, session, feed(64, 64, metadata)))
        for batch in (4, 8, 16, 32, 64, 128):
            whole, half = (feed(count, 64, metadata) for count in (batch, batch // 2))
            calls: Calls = {
                "one": partial(session.run, OUTPUTS, whole),
                "two": partial(_together, pool, session, half),
            }
            columns[f"{batch} streams"] = timed(calls, batch * 64)
    return table("threads", columns)


def _together(pool: ThreadPoolExecutor, session: Any, half: dict[str, Any]) -> Iterable[Any]:
    return [*pool.map(session.run, [OUTPUTS] * 2, [half] * 2)]


def _for_seconds(seconds: float, call: Callable[[], object]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        call()


def step_threads() -> str:
    """One inference thread and two, by the size of the model's file."""
    columns = {}
    _, metadata = read_graph(shipped_model().read_bytes(), "the model that ships")
    for hidden in (192, 384, 512, 640, 768, 1024):
        torch.manual_seed(0)
        model = CharLSTM(ModelConfig(CHARACTERS, hidden))
        sized = replace(metadata, hidden=hidden)
        content = step_graph.build(weights.from_torch(model), sized)
        calls: Calls = {
            f"{threads}": Stepper(
                Model(open_form(content, threads=threads), sized, "cpu", threads, None), 1
            ).step
            for threads in (1, 2)
        }
        _for_seconds(AWAKE / 4, calls["2"])
        columns[f"hidden {hidden}, {len(content) / 2**20:.1f} MiB"] = timed(calls, 1)
    return table("threads", columns)


if __name__ == "__main__":
    main()
