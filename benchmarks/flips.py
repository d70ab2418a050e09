"""How often each path's rounding flips a character, and whether every flip is a near-tie.

The reference is the step loop, one stream at a time. A path starts from the reference's state and
draws with the same random numbers, and its characters are compared as long as it has been fed the
reference's text: up to a stream's first flip in each block. A stream that flipped goes on from the
reference's state, the others from their own, so that what rounding adds up over a long text is in
the figure. A flip is allowed where |u * C_last - C_k| <= 2e-5 * max(1, 1/T) * C_last at a boundary
k between the two choices, C being the reference's cumulative sums.

`python -m charlm.benchmarks.flips SETTINGS CHARACTERS` prints the results as a JSON list.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path as File
from typing import Any

import numpy as np

from charlm.benchmarks import apart, flip_paths, machine
from charlm.benchmarks.flip_paths import Array, Path, Row, State, StepLoop, Tokens
from charlm.benchmarks.results import FlipsResult
from charlm.benchmarks.settings import PROMPT, CaseFailedError, CaseSettings
from charlm.benchmarks.spread import significant
from charlm.data.errors import CharlmError
from charlm.infer import sampler
from charlm.infer.artifact import Model, open_model

TEMPERATURES = (0.5, 1.0, 2.0)
STREAMS = 64  # texts that the characters are split over
BLOCK = 256  # positions from one look at the reference's state to the next
TOLERANCE = 2e-5  # DESIGN.md's, of C_last, at T >= 1


@dataclass(frozen=True)
class Block:
    """Some positions of the reference's texts.

    Attributes:
        before: its state before them.
        uniforms: float32 [positions, streams].
        drawn: its tokens, int64 [positions, streams].
        logits: float32 [positions, streams, vocabulary].
    """

    before: State
    uniforms: Array
    drawn: Tokens
    logits: Array


@dataclass
class Count:
    """What a path's blocks add up to."""

    characters: int = 0
    flips: int = 0
    ties: int = 0
    worst: float = 0.0


def reference(model: Model, temperature: float, seed: int, positions: int) -> Iterator[Block]:
    """The reference's texts in blocks: `STREAMS` streams of a seed, drawn one at a time."""
    loop = StepLoop(model, 1, keep_logits=True)
    state = _start(model)
    streams = [sampler.uniforms(seed, stream) for stream in range(STREAMS)]
    for first in range(0, positions, BLOCK):
        count = min(BLOCK, positions - first)
        uniforms = np.stack(
            [np.fromiter(islice(each, count), np.float32, count) for each in streams], axis=1
        )
        drawn, logits, after = [], [], []
        for stream in range(STREAMS):
            one = slice(stream, stream + 1)
            tokens, end = loop.follow(state.of(one), uniforms[:, one], temperature)
            drawn.append(tokens)
            logits.append(loop.logits)
            after.append(end)
        yield Block(state, uniforms, np.concatenate(drawn, 1), np.concatenate(logits, 1))
        state = State(*(np.concatenate(parts) for parts in zip(*after, strict=True)))


class Comparison:
    """A path on its way through the reference's blocks."""

    def __init__(self, path: Path, batch: int, temperature: float) -> None:
        self.path, self.batch, self.temperature = path, batch, temperature
        self.count = Count()
        self._own: State | None = None
        self._follows = np.zeros(STREAMS, dtype=bool)  # its state is still its own

    def take(self, block: Block) -> None:
        """Let the path draw a block, and compare."""
        ends, drawn = [], []
        start = self._state(block.before)
        for first in range(0, STREAMS, self.batch):
            some = slice(first, first + self.batch)
            tokens, end = self.path.follow(
                start.of(some), block.uniforms[:, some], self.temperature
            )
            drawn.append(tokens)
            ends.append(end)
        self._own = State(*(np.concatenate(parts) for parts in zip(*ends, strict=True)))
        self._compare(block, np.concatenate(drawn, axis=1))

    def _state(self, reference: State) -> State:
        if self._own is None:
            return reference
        token = np.where(self._follows, self._own.token, reference.token)
        mask = self._follows[:, None, None]
        h, c = (np.where(mask, a, b) for a, b in zip(self._own[1:], reference[1:], strict=True))
        return State(token, h, c)

    def _compare(self, block: Block, drawn: Tokens) -> None:
        differs = drawn != block.drawn
        self._follows = ~differs.any(axis=0)
        first = np.where(self._follows, len(drawn), differs.argmax(axis=0))
        self.count.characters += int(np.minimum(first + 1, len(drawn)).sum())
        for stream in np.flatnonzero(~self._follows):
            place = first[stream], stream
            distance = tie_distance(
                block.logits[place], block.uniforms[place], self.temperature,
                (int(block.drawn[place]), int(drawn[place])),
            )  # fmt: skip
            self.count.flips += 1
            self.count.ties += distance <= 1
            self.count.worst = max(self.count.worst, distance)


def tie_distance(
    logits: Array, uniform: np.float32, temperature: float, choices: tuple[int, int]
) -> float:
    """How far u lies from the nearest boundary between two choices, in multiples of the allowed.

    Args:
        logits: float32 [vocabulary] of the reference.
        uniform: u.
        temperature: T, above 0.
        choices: two different tokens.
    """
    inverse = sampler.inverse_temperature(temperature)
    sums = np.add.accumulate(np.exp((logits - logits.max()) * inverse)).astype(np.float64)
    last = sums[-1]
    between = sums[min(choices) : max(choices)]
    allowed = TOLERANCE * max(1.0, 1 / temperature) * last
    return float(np.abs(float(uniform) * last - between).min() / allowed)


def compare(
    model: Model, rows: Sequence[Row], temperature: float, characters: int, seed: int
) -> list[FlipsResult]:
    """Hold paths against the reference over `characters` in all, at one temperature."""
    skipped: dict[str, str] = {}
    running: dict[str, Comparison] = {}
    for row in rows:
        try:
            running[row.name] = Comparison(row.open(model, row.batch), row.batch, temperature)
        except CharlmError as problem:
            skipped[row.name] = str(problem)
    for block in reference(model, temperature, seed, max(1, characters // STREAMS)):
        for each in running.values():
            each.take(block)
    counts = {name: each.count for name, each in running.items()}
    return [
        FlipsResult(
            row.name, row.title, temperature, skipped=machine.reason(skipped.get(row.name)),
            **asdict(counts.get(row.name, Count())),
        )
        for row in rows
    ]  # fmt: skip


def measure(settings: CaseSettings, characters: int) -> tuple[FlipsResult, ...]:
    """Compare every path at every temperature, in a process of its own."""
    try:
        found = apart.ask("flips", settings.to_json(), characters, threads=settings.threads)
    except CaseFailedError as problem:
        return (FlipsResult("all", "every path", 0.0, skipped=str(problem)),)
    return tuple(FlipsResult(**values) for values in found)


def _start(model: Model) -> State:
    """Every stream after the prompt, whose last character it reads next."""
    metadata = model.metadata
    prompt = metadata.vocabulary.encode(metadata.normalisation(PROMPT), "drop").tolist() or [0]
    loop = StepLoop(model, 1)
    for token in prompt[:-1]:
        loop.stepper.token[0] = token
        loop.stepper.step()
    h, c = loop.stepper.state()
    token = np.full(STREAMS, prompt[-1], dtype=np.int64)
    return State(token, np.repeat(h, STREAMS, axis=0), np.repeat(c, STREAMS, axis=0))


def _compare_all(settings: CaseSettings, characters: int) -> list[dict[str, Any]]:
    model = open_model(File(settings.model), settings.provider, settings.threads)
    share = characters // len(TEMPERATURES)
    found = [
        result
        for temperature in TEMPERATURES
        for result in compare(model, flip_paths.PATHS, temperature, share, settings.seed)
    ]
    return [asdict(each) | {"worst": significant(each.worst, 3)} for each in found]


def main(settings: str, characters: str) -> int:
    """Compare, and print what came of it; the exit code."""
    told = CaseSettings.from_json(settings)
    return apart.answer(lambda: _compare_all(told, int(characters)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
