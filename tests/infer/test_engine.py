"""The step engine and reader, against steppers of single streams."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from charlm.data.errors import SettingsError
from charlm.infer.engine import Primed, StepEngine, StepReader, with_rows
from charlm.infer.filters import Filters
from charlm.infer.generator import Generator
from charlm.infer.philox import UniformStream, take_block
from charlm.infer.sampling import Sampling
from charlm.infer.session import Stepper

Tokens = npt.NDArray[Any]


def read_alone(small: Generator, prompt: Tokens) -> Primed:
    stepper = Stepper(small.model, 1)
    for token in prompt.tolist():
        stepper.token[0] = token
        stepper.step()
    return Primed(*stepper.state(), stepper.logits.copy())


def check_equal(one: Primed, other: Primed, atol: float = 1e-3) -> None:
    for ours, theirs in ((one.h, other.h), (one.c, other.c), (one.logits, other.logits)):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def prompts_of(lengths: list[int]) -> list[Tokens]:
    random = np.random.RandomState(len(lengths))
    return [random.randint(0, 28, length).astype(np.uint8) for length in lengths]


@pytest.mark.parametrize(
    "lengths", [[1], [5], [3, 3, 3], [1, 9, 4, 9, 2, 1], [40, 1, 1, 1, 1, 1], list(range(1, 34))]
)
def test_prompts_read_together_end_where_each_ends_alone(
    small: Generator, lengths: list[int]
) -> None:
    """In their own order, whatever the reader's, also as the batch shrinks."""
    prompts = prompts_of(lengths)
    together = StepReader(small.model).read(prompts)
    assert len(together.logits) == len(prompts)
    for row, prompt in enumerate(prompts):
        check_equal(together.take([row]), read_alone(small, prompt))


def test_short_prompts_do_not_wait_for_a_long_one(
    small: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 0
    step = Stepper.step

    def counted(stepper: Stepper) -> None:
        nonlocal rows
        rows += len(stepper.token)
        step(stepper)

    monkeypatch.setattr(Stepper, "step", counted)
    StepReader(small.model).read(prompts_of([100, *[5] * 63]))
    assert rows == 5 * 64 + 95


def numbers(streams: list[int], steps: int) -> npt.NDArray[np.float32]:
    return take_block([UniformStream(3, stream) for stream in streams], steps)


def sampling_of(*temperatures: float, filters: Filters | None = None) -> Sampling:
    return Sampling.of(temperatures, [filters or Filters()] * len(temperatures), 28)


def test_streams_draw_what_the_generator_draws(small: Generator) -> None:
    """Blocks of any length, each stream with settings of its own."""
    prompts = ["the city", "a", "a", "é z"]
    settings: list[dict[str, Any]] = [
        {"temperature": 0.5}, {"temperature": 0}, {"top_k": 3}, {"temperature": 2, "top_p": 0.9}
    ]  # fmt: skip
    engine = StepEngine(small.model)
    filters = [Filters(each.get("top_k", 0), each.get("top_p", 1.0)) for each in settings]
    sampling = Sampling.of([each.get("temperature", 1.0) for each in settings], filters, 28)
    engine.start(StepReader(small.model).read([small.encode(p) for p in prompts]), sampling)
    drawn = numbers([0, 1, 2, 3], 40)
    blocks = [engine.draw(drawn[:, a:b]) for a, b in ((0, 1), (1, 8), (8, 8), (8, 40))]
    assert [block.shape for block in blocks] == [(4, 1), (4, 7), (4, 0), (4, 32)]
    for stream, tokens in enumerate(np.concatenate(blocks, axis=1)):
        wanted = small.text(prompts[stream], length=40, seed=3, stream=stream, **settings[stream])
        assert small.vocabulary.decode(tokens) == wanted


def test_rows_are_replaced_kept_and_doubled(small: Generator) -> None:
    reader, engine = StepReader(small.model), StepEngine(small.model)
    texts = [small.text("a", length=30, seed=3, stream=stream) for stream in range(4)]
    other = small.text("the", length=20, seed=3, stream=7, temperature=0.3)
    primed = reader.read([small.encode("a")] * 4)
    engine.start(primed, sampling_of(1, 1, 1, 1))
    ids = numbers([0, 1, 2, 3], 30)
    engine.draw(ids[:, :10])
    engine.replace(np.array([1]), reader.read([small.encode("the")]), sampling_of(0.3))
    engine.keep(np.array([3, 1, 1]))
    later = np.stack((ids[3, 10:], *numbers([7, 7], 20)))
    drawn = [small.vocabulary.decode(row) for row in engine.draw(later)]
    assert drawn == [texts[3][10:], other, other]


def test_what_was_primed_is_not_written_to(small: Generator) -> None:
    primed = StepReader(small.model).read([small.encode("a"), small.encode("the")])
    before = Primed(primed.h.copy(), primed.c.copy(), primed.logits.copy())
    engine = StepEngine(small.model)
    engine.start(primed, sampling_of(1, 1))
    engine.draw(numbers([0, 1], 10))
    engine.replace(np.array([0, 1]), primed, sampling_of(1, 1))
    engine.draw(numbers([0, 1], 10))
    check_equal(primed, before, atol=0)


def test_streams_that_a_device_can_not_hold_are_one_line(
    small: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

    def full(*_: Any) -> None:
        raise RuntimeException("bad allocation\nsomewhere")

    monkeypatch.setattr(Stepper, "__init__", full)
    saying = r"^1 streams side by side can't be held \(give a smaller --width\): bad allocation$"
    with pytest.raises(SettingsError, match=saying):
        StepReader(small.model).read(prompts_of([3]))


def test_parts_are_joined_and_taken() -> None:
    one, two = (
        Primed(
            np.full((n, 2, 16), n, np.float32),
            np.full((n, 2, 16), -n, np.float32),
            np.full((n, 28), 10 * n, np.float32),
        )
        for n in (1, 2)
    )
    both = Primed.joined([one, two])
    assert both.h[:, 0, 0].tolist() == [1, 2, 2]
    assert both.c[:, 0, 0].tolist() == [-1, -2, -2]
    assert both.take([2, 0]).logits[:, 0].tolist() == [20, 10]


def test_settings_of_some_rows_are_exchanged_in_a_copy() -> None:
    before = sampling_of(1, 0.5, 2)
    after = with_rows(before, np.array([2, 0]), sampling_of(0, 0.25, filters=Filters(top_k=4)))
    assert after.greedy.tolist() == [False, False, True]
    assert after.inverse_temperature[:2].tolist() == [4, 2]
    assert after.top_k.tolist() == [4, 28, 28]
    assert before.inverse_temperature.tolist() == [1, 2, 0.5]
    assert before.top_k.tolist() == [28] * 3
