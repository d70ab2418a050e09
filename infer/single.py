"""One text, as it is drawn: by single steps, or by blocks that grow."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.export.contract_siblings import SEQUENCE
from charlm.infer import sampler
from charlm.infer.artifact import Model
from charlm.infer.choose import STEP, WORTH_SEQUENCE, Plan
from charlm.infer.sampler import Sampler, Sampling, UniformStream
from charlm.infer.session import Stepper, check_finite
from charlm.infer.settings import Settings
from charlm.infer.window_stepper import WindowStepper

Array = npt.NDArray[np.float32]
Tokens = npt.NDArray[Any]
NUMBERS = 1024  # random numbers in one go
FIRST_BLOCK = 16  # a reader waits for no more than this before the first character


def characters(
    model: Model, plan: Plan, prompt: Tokens, settings: Settings, stream: int
) -> Iterator[str]:
    """The characters after a prompt, one by one.

    Args:
        model: an open model.
        plan: for one stream.
        prompt: its token ids.
        settings: how it is drawn; stop strings are the caller's.
        stream: of the seed's random numbers.

    The prompt has been read when this returns: what can't be opened is found before a character
    is shown.

    Raises:
        ModelFileError: the weights are damaged, or a graph beside the model can't be used.
    """
    uniforms, left = UniformStream(settings.seed, stream), settings.length
    first: list[str] = []
    if not len(prompt):
        initial = np.asarray(model.metadata.initial, dtype=np.float32)
        number = uniforms.take(1)[0]
        prompt = np.array([sampler.draw_initial(initial, number, settings.temperature)])
        first = [model.metadata.vocabulary.characters[prompt[0]]]
        if left == 1:
            return iter(first)
        left = left and left - 1
    way = _by_steps if plan.path == STEP else _by_blocks
    return _after(first, way(model, plan, prompt, settings, uniforms, left))


def _after(first: list[str], drawn: Iterator[str]) -> Iterator[str]:
    yield from first
    yield from drawn


def _by_steps(
    model: Model, plan: Plan, prompt: Tokens, settings: Settings, uniforms: UniformStream, left: int
) -> Iterator[str]:
    stepper: Stepper | WindowStepper
    if plan.window is None:
        stepper = Stepper(model, batch=1)
    else:
        stepper = WindowStepper(model, 1, plan.window, plan.precision)
        prompt = prompt[-plan.window :]
    token, step, known = stepper.token, stepper.step, model.metadata.vocabulary.characters
    if len(prompt) < WORTH_SEQUENCE or SEQUENCE not in model.siblings:
        for read in prompt.tolist():
            token[0] = read
            step()
    else:
        from charlm.infer.paths import reader_of

        primed = reader_of(model, plan).read([prompt])
        stepper.set_state(primed.h, primed.c)
        stepper.logits[:] = primed.logits
    check_finite(stepper.logits)
    draw = Sampler(stepper.logits, settings.temperature, settings.filters).draw_one

    def drawn() -> Iterator[str]:
        for uniform in itertools.islice(uniforms, left or None):
            chosen = draw(uniform)
            yield known[chosen]
            token[0] = chosen
            step()

    return drawn()


def _by_blocks(
    model: Model, plan: Plan, prompt: Tokens, settings: Settings, uniforms: UniformStream, left: int
) -> Iterator[str]:
    from charlm.infer.paths import engine_of, reader_of

    vocabulary = model.metadata.vocabulary
    primed = reader_of(model, plan).read([prompt])
    check_finite(primed.logits)
    engine = engine_of(model, plan)
    engine.start(primed, Sampling.same(1, len(vocabulary), settings.temperature, settings.filters))
    return itertools.chain.from_iterable(
        vocabulary.decode(engine.draw(numbers)[0])
        for numbers in _blocks(uniforms, left, engine.block or FIRST_BLOCK, plan.longest_block)
    )


def _blocks(uniforms: UniformStream, left: int, block: int, longest: int) -> Iterator[Array]:
    """Random numbers, float32 [1, steps], in blocks that grow; `left` of them, or without end."""
    endless, ahead = left == 0, uniforms.take(0)
    while endless or left:
        steps = block if endless else min(block, left)
        if len(ahead) < steps:  # a call has its price, so it asks for many
            ahead = np.concatenate((ahead, uniforms.take(NUMBERS)))
        yield ahead[None, :steps]
        ahead = ahead[steps:]
        left -= 0 if endless else steps
        block = min(2 * block, longest)
