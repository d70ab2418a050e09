"""How often each path's rounding flips a character, and whether every flip is a near-tie.

The reference is the step loop, one stream at a time. A path starts from the reference's state and
draws with the same random numbers, and its characters are compared as long as it has been fed the
reference's text: up to a stream's first flip in each block. A stream that flipped goes on from the
reference's state, the others from their own, so that what rounding adds up over a long text is in
the figure. `tie_distance` says how near a tie a flip was.

`python -m charlm.benchmarks.flips SETTINGS CHARACTERS` prints the results as a JSON list.
"""

import sys
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.benchmarks import engines
from charlm.benchmarks.cases.charlm_open import prompt_of
from charlm.benchmarks.harness import apart, machine
from charlm.benchmarks.harness.settings import CaseFailedError, CaseSettings
from charlm.benchmarks.report.results import FlipsResult, significant
from charlm.data.system.errors import CharlmError
from charlm.infer.engines.base import Array, Engine, Primed, Tokens
from charlm.infer.engines.step import Stepper
from charlm.infer.model.open import Model, open_model
from charlm.infer.sampling.draw import Sampler, Sampling, inverse_temperature
from charlm.infer.sampling.filters import NO_FILTERS, Filters, remove_from_one
from charlm.infer.sampling.philox import UniformStream, take_block

TOLERANCE = 2e-5  # of C_last, at T >= 1


def tie_distance(
    logits: Array,
    uniform: np.float32,
    temperature: float,
    choices: tuple[int, int],
    filters: Filters = NO_FILTERS,
) -> float:
    """How far u lies from the nearest boundary between two choices, in multiples of the allowed.

    Allowed is |u * C_last - C_k| <= 2e-5 * max(1, 1/T) * C_last at a boundary k between the two, C
    being the reference's cumulative sums; or a filter's threshold as close to what it is held to.

    Args:
        logits: float32 [vocabulary] of the reference.
        uniform: u.
        temperature: T, above 0.
        choices: two different tokens.
        filters: of both.
    """
    inverse = inverse_temperature(temperature)
    weights = np.exp((logits - logits.max()) * inverse)
    threshold = _threshold_distance(weights.astype(np.float64), filters)
    if filters != NO_FILTERS:
        remove_from_one(weights, *filters.limits(len(weights)))
    sums: npt.NDArray[np.float64] = np.add.accumulate(weights).astype(np.float64)
    between = sums[min(choices) : max(choices)]
    gap = float(np.abs(float(uniform) * sums[-1] - between).min())
    return min(gap, threshold) / float(TOLERANCE * max(1.0, 1 / temperature) * sums[-1])


def _threshold_distance(weights: npt.NDArray[np.float64], filters: Filters) -> float:
    """How near a filter came to keeping a character more or less, in the weights' units."""
    first, share, least = filters.limits(len(weights))
    ordered = np.sort(weights)[::-1]
    found = [float("inf")]
    if first < len(ordered):
        found.append(float(ordered[first - 1] - ordered[first]))
    left = ordered[:first]
    if share <= 1:
        found.append(float(np.abs(left.cumsum() - float(share) * left.sum()).min()))
    if least > 0:
        found.append(float(np.abs(left - float(least) * left[0]).min()))
    return min(found)


TEMPERATURES = (0.5, 1.0, 2.0)
STREAMS = 64  # texts that the characters are split over
BLOCK = 256  # positions from one look at the reference's state to the next
FILTERS = Filters(top_k=20, top_p=0.9, min_p=0.01)
FILTERS_SHOWN = "top-k 20, top-p 0.9, min-p 0.01"


@dataclass(frozen=True)
class Row:
    """A path to compare: what `open_engine` takes, and how many streams one call steps."""

    name: str
    title: str
    path: str
    batch: int  # a divisor of STREAMS


PATHS = (
    Row("step_1", "step loop, as batches run it, one text", engines.STEP, 1),
    Row("step_64", f"step loop, {STREAMS} texts side by side", engines.STEP, STREAMS),
    Row("generate_64", f"portable graph, {STREAMS} texts", engines.GENERATE, STREAMS),
    Row("native_1", "operator, one text", engines.NATIVE, 1),
    Row("native_64", f"operator, {STREAMS} texts side by side", engines.NATIVE, STREAMS),
)


@dataclass(frozen=True)
class Block:
    """Some positions of the reference's texts.

    Attributes:
        before, after: its state before and after them.
        numbers: where each stream stands in its random numbers, before them.
        uniforms: float32 [streams, positions].
        drawn: its tokens, int64 [streams, positions].
        logits: float32 [streams, positions, vocabulary].
    """

    before: Primed
    numbers: list[UniformStream]
    uniforms: Array
    drawn: Tokens
    logits: Array
    after: Primed


@dataclass
class Count:
    """What a path's blocks add up to."""

    characters: int = 0
    flips: int = 0
    ties: int = 0
    worst: float = 0.0


class Reference:
    """The step loop, one stream at a time, as `Generator.stream` runs it on any machine."""

    def __init__(self, model: Model, temperature: float, filters: Filters = NO_FILTERS) -> None:
        self._stepper = Stepper(model, batch=1)
        self._draw = Sampler(self._stepper.logits, temperature, filters).draw_one

    def blocks(self, start: Primed, seed: int, positions: int) -> Iterator[Block]:
        """The texts after `start` in blocks; stream n of the seed for each."""
        streams = [UniformStream(seed, number) for number in range(len(start.logits))]
        state = start
        for first in range(0, positions, BLOCK):
            before = [UniformStream(seed, each.stream, each.position) for each in streams]
            uniforms = take_block(streams, min(BLOCK, positions - first))
            rows = [self._one(state.take([n]), each) for n, each in enumerate(uniforms)]
            drawn, logits, after = zip(*rows, strict=True)
            block = Block(
                state, before, uniforms, np.stack(drawn), np.stack(logits), Primed.joined(after)
            )
            yield block
            state = block.after

    def _one(self, state: Primed, uniforms: Array) -> tuple[Tokens, Array, Primed]:
        stepper = self._stepper
        stepper.set_state(state.h, state.c)
        stepper.logits[:] = state.logits
        drawn = np.empty(len(uniforms), dtype=np.int64)
        logits = np.empty((len(uniforms), stepper.logits.shape[1]), dtype=np.float32)
        for position, uniform in enumerate(uniforms):
            logits[position] = stepper.logits[0]
            stepper.token[0] = drawn[position] = self._draw(uniform)
            stepper.step()
        return drawn, logits, Primed(*stepper.state(), stepper.logits.copy())


class Comparison:
    """A path on its way through the reference's blocks: an engine for each `batch` of streams."""

    def __init__(
        self, path: Sequence[Engine], temperature: float, filters: Filters = NO_FILTERS
    ) -> None:
        self.count = Count()
        self._engines, self._begun = path, False
        self._temperature, self._filters = temperature, filters

    def take(self, block: Block) -> None:
        """Let the path draw a block, compare, and put what flipped back on the reference's text."""
        drawn = []
        batch = len(block.drawn) // len(self._engines)
        size = block.logits.shape[-1]
        sampling = Sampling.same(batch, size, self._temperature, self._filters)
        for number, engine in enumerate(self._engines):
            some = slice(number * batch, (number + 1) * batch)
            if not self._begun:
                engine.start(block.before.take(some), sampling)
            numbers = [copy(each) for each in block.numbers[some]]
            steps = block.drawn.shape[1]
            tokens = np.asarray(engine.draw(numbers, steps), dtype=np.int64)
            drawn.append(tokens)
            flipped = np.flatnonzero((tokens != block.drawn[some]).any(axis=1))
            if len(flipped):
                right = block.after.take(some).take(flipped)
                engine.replace(flipped, right, sampling.take(flipped))
        self._begun = True
        self._compare(block, np.concatenate(drawn))

    def _compare(self, block: Block, drawn: Tokens) -> None:
        differs = drawn != block.drawn
        positions = drawn.shape[1]
        first = np.where(differs.any(axis=1), differs.argmax(axis=1), positions)
        self.count.characters += int(np.minimum(first + 1, positions).sum())
        for stream in np.flatnonzero(first < positions):
            place = stream, first[stream]
            choices = int(block.drawn[place]), int(drawn[place])
            distance = tie_distance(
                block.logits[place], block.uniforms[place], self._temperature, choices,
                self._filters,
            )  # fmt: skip
            self.count.flips += 1
            self.count.ties += distance <= 1
            self.count.worst = max(self.count.worst, distance)


def compare(
    model: Model,
    rows: Sequence[Row],
    temperature: float,
    characters: int,
    seed: int,
    filters: Filters = NO_FILTERS,
) -> list[FlipsResult]:
    """Hold paths against the reference over `characters` in all, at one temperature."""
    skipped: dict[str, str] = {}
    running: dict[str, Comparison] = {}
    for row in rows:
        try:
            found = [
                engines.open_engine(row.path, "float32", model, model.threads)
                for _ in range(STREAMS // row.batch)
            ]
            running[row.name] = Comparison(found, temperature, filters)
        except CharlmError as problem:
            skipped[row.name] = str(problem)
    start = engines.primed(model, prompt_of(model), STREAMS)
    positions = max(1, characters // STREAMS)
    for block in Reference(model, temperature, filters).blocks(start, seed, positions):
        for each in running.values():
            each.take(block)
    counts = {name: each.count for name, each in running.items()}
    return [
        FlipsResult(
            row.name,
            row.title if filters == NO_FILTERS else f"{row.title}, {FILTERS_SHOWN}",
            temperature,
            skipped=machine.reason(skipped.get(row.name)),
            **asdict(counts.get(row.name, Count())),
        )
        for row in rows
    ]


def measure(settings: CaseSettings, characters: int) -> tuple[FlipsResult, ...]:
    """Compare every path at every temperature, in a process of its own."""
    try:
        found = apart.ask("flips", settings.to_json(), characters, threads=settings.threads)
    except CaseFailedError as problem:
        return (FlipsResult("all", "every path", 0.0, skipped=str(problem)),)
    return tuple(FlipsResult(**values) for values in found)


def _compare_all(settings: CaseSettings, characters: int) -> list[dict[str, Any]]:
    model = open_model(Path(settings.model), settings.provider, settings.threads)
    share = characters // len(TEMPERATURES)
    found = [
        result
        for temperature in TEMPERATURES
        for result in compare(model, PATHS, temperature, share, settings.seed)
    ]
    with_filters = [row for row in PATHS if row.path != engines.GENERATE]
    found += compare(model, with_filters, 1.0, characters, settings.seed, FILTERS)
    return [asdict(each) | {"worst": significant(each.worst, 3)} for each in found]


def main(settings: str, characters: str) -> int:
    """Compare, and print what came of it; the exit code."""
    told = CaseSettings.from_json(settings)
    return apart.answer(lambda: _compare_all(told, int(characters)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
