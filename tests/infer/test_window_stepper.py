"""Staggered states, against windows that are read again for each character."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from charlm.export import contract
from charlm.infer.engines.session import Stepper
from charlm.infer.engines.window_stepper import WindowStepper
from charlm.infer.generator import Generator
from charlm.infer.model import shipped

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


@pytest.fixture(scope="module")
def lovecraft() -> Generator:
    return Generator.open(shipped.shipped_model(), "cpu", 1)


def read_again(generator: Generator, ids: Ids, window: int) -> Floats:
    """Logits after each character of ids [streams, time], every window from zero: naive."""
    metadata, session = generator.metadata, generator.model.session
    found = []
    for end in range(1, ids.shape[1] + 1):
        h = c = np.zeros((len(ids), metadata.layers, metadata.hidden), dtype=np.float32)
        for token in ids[:, max(0, end - window) : end].T:
            given = {contract.TOKEN: token, contract.H: h, contract.C: c}
            logits, h, c = session.run([contract.LOGITS, contract.H_NEXT, contract.C_NEXT], given)
        found.append(logits)
    return np.array(found)


def stepped(stepper: Stepper | WindowStepper, ids: Ids) -> Floats:
    """Logits after each character."""
    found = []
    for column in ids.T:
        stepper.token[:] = column
        stepper.step()
        found.append(stepper.logits.copy())
    return np.array(found)


def drawn(streams: int, time: int, size: int = 28) -> Ids:
    return np.random.RandomState(time).randint(0, size, (streams, time))


def check_equal(found: Floats, wanted: Floats) -> None:
    """Within 1e-5 of the largest logit, or of 1."""
    size = max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * size)


@pytest.mark.parametrize("window", [1, 3, 40])
@pytest.mark.parametrize("streams", [1, 3])
def test_logits_are_those_of_the_last_characters_alone(
    lovecraft: Generator, streams: int, window: int
) -> None:
    """From the first character on, where there are fewer, until long after the window is full."""
    ids = drawn(streams, 95, 62)
    found = stepped(WindowStepper(lovecraft.model, streams, window), ids)
    check_equal(found, read_again(lovecraft, ids, window))


@pytest.mark.parametrize("window", [1, 2, 7])
def test_a_model_that_never_rounds_gives_the_very_same(exact: Generator, window: int) -> None:
    ids = drawn(2, 40)
    found = stepped(WindowStepper(exact.model, 2, window), ids)
    np.testing.assert_array_equal(found, read_again(exact, ids, window))


def test_layers_fall_out_together(small: Generator) -> None:
    """Two layers; their random weights carry rounding on, so that few characters are compared."""
    ids = drawn(3, 12)
    check_equal(stepped(WindowStepper(small.model, 3, 4), ids), read_again(small, ids, 4))


def test_a_text_within_the_window_is_read_as_if_carried(exact: Generator) -> None:
    ids = drawn(2, 9)
    carried = stepped(Stepper(exact.model, 2), ids)
    windows = stepped(WindowStepper(exact.model, 2, 8), ids)
    np.testing.assert_array_equal(windows[:8], carried[:8])
    assert not np.array_equal(windows[8], carried[8])


@pytest.mark.parametrize("read", [0, 1, 3, 5, 12])
def test_states_go_from_one_stepper_into_another(exact: Generator, read: int) -> None:
    """Some streams of it, in another order, before and after the window is full."""
    ids, rows = drawn(3, 25), [2, 0]
    first, second = WindowStepper(exact.model, 3, 5), WindowStepper(exact.model, 2, 5)
    stepped(first, ids[:, :read])
    h, c = first.state()
    assert h.shape == c.shape == (3, 5, 1, 32)
    second.set_state(h[rows], c[rows])
    rest = stepped(second, ids[rows, read:])
    wanted = stepped(WindowStepper(exact.model, 3, 5), ids)
    np.testing.assert_array_equal(rest, wanted[read:, rows])


def test_what_a_stepper_is_put_into_is_not_written_to(exact: Generator) -> None:
    stepper = WindowStepper(exact.model, 2, 3)
    stepped(stepper, drawn(2, 5))
    state = stepper.state()
    before: list[Any] = [each.copy() for each in state]
    stepper.set_state(*state)
    stepped(stepper, drawn(2, 7))
    for each, kept in zip(state, before, strict=True):
        np.testing.assert_array_equal(each, kept)
