"""CUDA against the CPU, on a machine that has it; elsewhere skipped, with the reason."""

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from charlm.data import console
from charlm.infer import cli, providers, sampler, shipped
from charlm.infer.generator import Generator
from charlm.infer.requests import Request
from charlm.infer.session import Stepper
from charlm.infer.window_stepper import WindowStepper

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("needs_cuda")]

Floats = npt.NDArray[np.float32]
PROMPT = "when i drew nigh the nameless city i kne"


@pytest.fixture(scope="module")
def on_cpu() -> Generator:
    return Generator.open(shipped.shipped_model(), "cpu")


@pytest.fixture(scope="module")
def on_cuda() -> Generator:
    return Generator.open(shipped.shipped_model(), "cuda")


def difference(found: Floats, wanted: Floats) -> float:
    """The largest error of each stream against s = max(1, the largest magnitude there)."""
    batch = len(wanted)
    size = np.maximum(1, np.abs(wanted).reshape(batch, -1).max(axis=1))
    return float((np.abs(found - wanted).reshape(batch, -1).max(axis=1) / size).max())


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_steps_equal_those_of_the_cpu(on_cpu: Generator, on_cuda: Generator, batch: int) -> None:
    """Within 1e-5 after one step from the CPU's state, and 1e-3 over 1,000 carried steps."""
    cpu, carried, single = (
        Stepper(model, batch) for model in (on_cpu.model, on_cuda.model, on_cuda.model)
    )
    streams = [sampler.uniforms(0, stream) for stream in range(batch)]
    draw = sampler.Sampler(cpu.logits, 1.0).draw
    for _ in range(1000):
        single.set_state(*cpu.state())
        for stepper in (cpu, carried, single):
            stepper.step()
        assert difference(single.logits, cpu.logits) <= 1e-5
        assert difference(carried.logits, cpu.logits) <= 1e-3
        for one, many, wanted in zip(single.state(), carried.state(), cpu.state(), strict=True):
            assert difference(one, wanted) <= 1e-5
            assert difference(many, wanted) <= 1e-3
        token = draw(np.array([next(stream) for stream in streams]))
        for stepper in (cpu, carried, single):
            stepper.token[:] = token


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_text_of_the_cpu_is_that_of_cuda_but_for_near_ties(
    on_cpu: Generator,
    on_cuda: Generator,
    count_flips: Callable[..., int],
    temperature: float,
) -> None:
    length = 5000
    text = on_cpu.text(PROMPT, length=length, temperature=temperature, seed=1)
    drawn = on_cpu.encode(text).tolist()
    uniforms = np.array(list(itertools.islice(sampler.uniforms(1, 0), length)))
    stepper, logits = Stepper(on_cuda.model, 1), np.empty((length, 62), dtype=np.float32)
    ids = [*on_cpu.encode(PROMPT).tolist(), *drawn[:-1]]
    first = len(PROMPT) - 1
    for place, token in enumerate(ids):
        stepper.token[0] = token
        stepper.step()
        if place >= first:
            logits[place - first] = stepper.logits[0]
    assert count_flips(logits, drawn, uniforms, temperature) <= 2


def test_the_state_stays_on_the_device(on_cuda: Generator) -> None:
    stepper = Stepper(on_cuda.model, 2)
    buffers = [*stepper._h, *stepper._c]
    places = [value.data_ptr() for value in buffers]
    for token in range(10):
        stepper.token[:] = token
        stepper.step()
    assert [value.device_name() for value in buffers] == ["cuda"] * 4
    assert [value.data_ptr() for value in buffers] == places
    assert stepper.state()[0].any()


def test_the_session_runs_cuda_first(on_cuda: Generator) -> None:
    assert on_cuda.model.device == "cuda"
    assert on_cuda.model.note is None
    assert on_cuda.model.session.get_providers()[0] == providers.CUDA


@pytest.mark.parametrize(("provider", "device"), [("cuda", "cuda"), ("auto", "cpu")])
def test_the_command_runs_on_cuda_where_it_pays(
    provider: str, device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [PROMPT, "--provider", provider, "--length", "100", "--seed", "1"]
    arguments += ["--model", str(shipped.shipped_model())]
    assert console.exit_code(cli.app, "charlm-gen", arguments) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(PROMPT)
    assert len(shown.out) == len(PROMPT) + 100 + 1
    assert f", {device}, seed 1" in shown.err


def test_a_batch_equals_that_of_the_cpu_at_first(on_cpu: Generator, on_cuda: Generator) -> None:
    """Streams of mixed lengths that leave and enter, four side by side.

    A near-tie may part them later; forty characters hold none for this seed.
    """
    requests = [Request(PROMPT[:n], length=5 + 3 * n, stream=n, seed=2) for n in range(12)]
    ours, theirs = (list(each.batch(requests, width=4)) for each in (on_cuda, on_cpu))
    assert ours == theirs


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("fp16", 0.2)])
def test_windows_equal_those_of_the_cpu(
    on_cpu: Generator, on_cuda: Generator, precision: str, tolerance: float
) -> None:
    """Whose states move on through the batch without leaving the device."""
    cpu, cuda = WindowStepper(on_cpu.model, 3, 40), WindowStepper(on_cuda.model, 3, 40, precision)
    for column in np.random.RandomState(0).randint(0, 62, (100, 3)):
        for stepper in (cpu, cuda):
            stepper.token[:] = column
            stepper.step()
        assert difference(cuda.logits, cpu.logits) <= tolerance
    moved = WindowStepper(on_cuda.model, 2, 40, precision)
    moved.set_state(*(each[[2, 0]] for each in cuda.state()))
    for stepper in (moved, cuda):
        stepper.token[:] = 7
        stepper.step()
    assert difference(moved.logits, cuda.logits[[2, 0]]) <= tolerance
