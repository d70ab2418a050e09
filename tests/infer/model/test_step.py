"""Steps with the state carried against Torch, and windows against windows that are read again."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from charlm.data.system.errors import ModelFileError
from charlm.export import contract
from charlm.infer.engines.step import Stepper, WindowStepper
from charlm.infer.generator import Generator
from charlm.train.model import CharLSTM

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


def drawn(steps: int, batch: int) -> Ids:
    return np.random.RandomState(steps).randint(0, 28, (steps, batch))


def check_against_torch(stepper: Stepper, model: CharLSTM, tokens: Ids) -> None:
    """Carry both over the tokens, from a zero state; logits and state must stay equal."""
    state = model.zero_state(tokens.shape[1])
    for row in tokens:
        stepper.token[:] = row
        stepper.step()
        with torch.no_grad():
            logits, state = model.step(torch.from_numpy(row), state)
        np.testing.assert_allclose(stepper.logits, logits, rtol=0, atol=1e-3)
        for ours, theirs in zip(stepper.state(), state, strict=True):
            np.testing.assert_allclose(ours, theirs.transpose(0, 1), rtol=0, atol=1e-3)


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_carried_steps_equal_torch(small: Generator, small_torch: CharLSTM, batch: int) -> None:
    """An odd number and an even number of steps end in either of the two buffers."""
    check_against_torch(Stepper(small.model, batch), small_torch, drawn(41, batch))


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_state_can_be_taken_and_put_back(small: Generator, before: int) -> None:
    tokens = drawn(20, 3)
    stepper, other = Stepper(small.model, 3), Stepper(small.model, 3)
    for row in tokens[:10]:
        stepper.token[:] = row
        stepper.step()
    for _ in range(before):  # so that the other's current buffer is either of the two
        other.step()
    other.set_state(*stepper.state())
    for row in tokens[10:]:
        for each in (stepper, other):
            each.token[:] = row
            each.step()
        np.testing.assert_array_equal(stepper.logits, other.logits)
    for a, b in zip(stepper.state(), other.state(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_states_are_copies(small: Generator) -> None:
    stepper = Stepper(small.model, 1)
    stepper.step()
    h, c = stepper.state()
    kept = h.copy(), c.copy()
    for _ in range(4):
        stepper.step()
    np.testing.assert_array_equal(h, kept[0])
    np.testing.assert_array_equal(c, kept[1])
    stepper.set_state(h, c)
    h[:], c[:] = 9, 9
    np.testing.assert_array_equal(stepper.state()[0], kept[0])
    np.testing.assert_array_equal(stepper.state()[1], kept[1])


def test_a_broadcast_state_of_another_type_is_taken(small: Generator) -> None:
    stepper = Stepper(small.model, 3)
    row = np.arange(32, dtype=np.float64).reshape(1, 2, 16)
    stepper.set_state(np.broadcast_to(row, (3, 2, 16)), np.broadcast_to(-row, (3, 2, 16)))
    h, c = stepper.state()
    np.testing.assert_array_equal(h, np.repeat(row, 3, axis=0))
    np.testing.assert_array_equal(c, np.repeat(-row, 3, axis=0))


def test_a_state_of_another_size_is_refused(small: Generator) -> None:
    stepper = Stepper(small.model, 1)
    state = np.zeros((2, 2, 16), dtype=np.float32)
    with pytest.raises(RuntimeError, match="size"):
        stepper.set_state(state, state)


def test_steppers_of_one_model_do_not_disturb_each_other(small: Generator) -> None:
    first, second, undisturbed = (Stepper(small.model, 1) for _ in range(3))
    for value in (3, 1, 4, 1, 5):
        first.token[0] = undisturbed.token[0] = value
        second.token[0] = 27 - value
        for stepper in (first, second, undisturbed):
            stepper.step()
    np.testing.assert_array_equal(first.logits, undisturbed.logits)
    assert not np.allclose(first.logits, second.logits)


def test_a_token_that_the_graph_lacks_is_a_clear_error(small: Generator) -> None:
    stepper = Stepper(small.model, 1)
    stepper.token[0] = 28
    with pytest.raises(ModelFileError, match=r"ONNX Runtime can't run the model: .*Gather"):
        stepper.step()


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


def texts(streams: int, time: int, size: int = 28) -> Ids:
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
    ids = texts(streams, 95, 62)
    found = stepped(WindowStepper(lovecraft.model, streams, window), ids)
    check_equal(found, read_again(lovecraft, ids, window))


@pytest.mark.parametrize("window", [1, 2, 7])
def test_a_model_that_never_rounds_gives_the_very_same(exact: Generator, window: int) -> None:
    ids = texts(2, 40)
    found = stepped(WindowStepper(exact.model, 2, window), ids)
    np.testing.assert_array_equal(found, read_again(exact, ids, window))


def test_layers_fall_out_together(small: Generator) -> None:
    """Two layers; their random weights carry rounding on, so that few characters are compared."""
    ids = texts(3, 12)
    check_equal(stepped(WindowStepper(small.model, 3, 4), ids), read_again(small, ids, 4))


def test_a_text_within_the_window_is_read_as_if_carried(exact: Generator) -> None:
    ids = texts(2, 9)
    carried = stepped(Stepper(exact.model, 2), ids)
    windows = stepped(WindowStepper(exact.model, 2, 8), ids)
    np.testing.assert_array_equal(windows[:8], carried[:8])
    assert not np.array_equal(windows[8], carried[8])


@pytest.mark.parametrize("read", [0, 1, 3, 5, 12])
def test_states_go_from_one_stepper_into_another(exact: Generator, read: int) -> None:
    """Some streams of it, in another order, before and after the window is full."""
    ids, rows = texts(3, 25), [2, 0]
    first, second = WindowStepper(exact.model, 3, 5), WindowStepper(exact.model, 2, 5)
    stepped(first, ids[:, :read])
    h, c = first.state()
    assert h.shape == c.shape == (3, 5, 1, 32)
    second.set_state(h[rows], c[rows])
    rest = stepped(second, ids[rows, read:])
    wanted = stepped(WindowStepper(exact.model, 3, 5), ids)
    np.testing.assert_array_equal(rest, wanted[read:, rows])
