"""One text, as it is drawn: in pieces, by single steps, or by blocks that grow."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.infer.engines.session import check_finite
from charlm.infer.engines.window_stepper import stepper_of
from charlm.infer.model.artifact import Model
from charlm.infer.planning.choose import STEP, Plan
from charlm.infer.planning.paths import engine_of, reader_of
from charlm.infer.request import Request
from charlm.infer.sampling import sampler
from charlm.infer.sampling.philox import UniformStream, first_uniform
from charlm.infer.sampling.sampler import Sampler, Sampling

Tokens = npt.NDArray[Any]
FIRST_BLOCK = 16  # a reader waits for no more than this before the first character


def pieces(model: Model, plan: Plan, prompt: Tokens, request: Request) -> Iterator[str]:
    """The text after a prompt, piece by piece.

    Args:
        model: an open model.
        plan: for one stream.
        prompt: its token ids.
        request: how it is drawn; stop strings are the caller's.

    The prompt has been read when this returns: what can't be opened is found before a character
    is shown.

    Raises:
        ModelFileError: the weights are damaged, or a graph beside the model can't be used.
    """
    numbers, left = UniformStream(request.seed, request.sample), request.length
    first: list[str] = []
    if not len(prompt):
        initial = np.asarray(model.metadata.initial, dtype=np.float32)
        number, numbers.position = first_uniform(request.seed, request.sample), 1
        prompt = np.array([sampler.draw_initial(initial, number, request.temperature)])
        first = [model.metadata.vocabulary.characters[prompt[0]]]
        if left == 1:
            return iter(first)
        left = left and left - 1
    way = _by_steps if plan.path == STEP else _by_blocks
    return itertools.chain(first, way(model, plan, prompt, request, numbers, left))


def _by_steps(
    model: Model, plan: Plan, prompt: Tokens, request: Request, numbers: UniformStream, left: int
) -> Iterator[str]:
    stepper = stepper_of(model, 1, plan.window)
    primed = reader_of(model, plan).read([prompt])
    check_finite(primed.logits)
    stepper.set_state(primed.h, primed.c)
    stepper.logits[:] = primed.logits
    token, step, known = stepper.token, stepper.step, model.metadata.vocabulary.characters
    draw = Sampler(stepper.logits, request.temperature, request.filters).draw_one

    def drawn() -> Iterator[str]:
        for uniform in itertools.islice(numbers, left or None):
            chosen = draw(uniform)
            yield known[chosen]
            token[0] = chosen
            step()

    return drawn()


def _by_blocks(
    model: Model, plan: Plan, prompt: Tokens, request: Request, numbers: UniformStream, left: int
) -> Iterator[str]:
    vocabulary = model.metadata.vocabulary
    primed = reader_of(model, plan).read([prompt])
    check_finite(primed.logits)
    engine = engine_of(model, plan)
    engine.start(primed, Sampling.same(1, len(vocabulary), request.temperature, request.filters))
    return (
        vocabulary.decode(engine.draw([numbers], steps)[0])
        for steps in _blocks(left, plan.longest_block)
    )


def _blocks(left: int, longest: int) -> Iterator[int]:
    """Lengths of blocks that grow; `left` in all, or without end where that is 0."""
    endless, block = left == 0, FIRST_BLOCK
    while endless or left:
        steps = block if endless else min(block, left)
        yield steps
        left -= 0 if endless else steps
        block = min(2 * block, longest)
