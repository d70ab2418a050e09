import numpy as np
import numpy.typing as npt
import pytest
import torch

from charlm.data.system.errors import ModelFileError
from charlm.infer.engines.session import Stepper
from charlm.infer.generator import Generator
from charlm.train.model import CharLSTM

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


def test_a_new_stepper_starts_from_zeros(small: Generator) -> None:
    h, c = Stepper(small.model, 2).state()
    assert h.shape == c.shape == (2, 2, 16)
    assert h.dtype == c.dtype == np.float32
    assert not h.any()
    assert not c.any()


def test_logits_and_token_stay_the_same_arrays(small: Generator) -> None:
    stepper = Stepper(small.model, 1)
    token, logits = stepper.token, stepper.logits
    assert token.dtype == np.int64
    assert logits.shape == (1, 28)
    seen = set()
    for value in range(4):
        token[0] = value
        stepper.step()
        seen.add(logits.tobytes())
    assert stepper.token is token
    assert stepper.logits is logits
    assert len(seen) == 4


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


def test_rows_of_a_batch_equal_streams_alone(small: Generator) -> None:
    tokens = drawn(30, 5)
    together = Stepper(small.model, 5)
    alone = [Stepper(small.model, 1) for _ in range(5)]
    for row in tokens:
        together.token[:] = row
        together.step()
        for number, stepper in enumerate(alone):
            stepper.token[0] = row[number]
            stepper.step()
            np.testing.assert_allclose(
                together.logits[number], stepper.logits[0], rtol=0, atol=1e-4
            )


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
