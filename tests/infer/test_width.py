"""How many streams run side by side: what is refused, and what nobody has to ask for."""

from collections.abc import Callable

import pytest

from charlm.data.system.errors import SettingsError
from charlm.export import contract_native
from charlm.infer.generator import Generator
from charlm.infer.model.artifact import Model
from charlm.infer.planning import width


@pytest.mark.parametrize("asked_for", [0, -1, width.MAX_WIDTH + 1])
def test_a_width_out_of_range_is_refused_at_once(exact: Generator, asked_for: int) -> None:
    with pytest.raises(SettingsError, match=f"--width is from 1 to 65536, not {asked_for}"):
        exact.batch([], width=asked_for)


def test_a_width_that_memory_can_not_hold_is_refused_at_once(
    exact: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(width, "memory_bytes", lambda: 100 * width.stream_bytes(exact.model))
    assert width.checked_width(100, exact.model) == 100
    with pytest.raises(SettingsError, match=r"--width 101 needs .* holds 100 streams"):
        exact.batch([], width=101)
    monkeypatch.setattr(width, "memory_bytes", lambda: None)
    assert width.checked_width(101, exact.model) == 101


@pytest.mark.parametrize(
    ("device", "threads", "wanted"),
    [
        ("cpu", 1, 256),
        ("cpu", 4, 1024),
        ("cpu", 256, 1 << 16),
        ("cuda", 1, 132 * 256),
        ("cuda", 64, 132 * 256),
    ],
)
def test_the_default_fills_the_device(
    exact: Generator,
    as_if_on_cuda: Callable[[Model], Model],
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    threads: int,
    wanted: int,
) -> None:
    """On the CPU each thread has its share; on a GPU each of its multiprocessors, here 132."""
    monkeypatch.setattr(width, "memory_bytes", lambda: None)
    monkeypatch.setattr(contract_native, "gpu", lambda: (132, "a GPU"))
    model = as_if_on_cuda(exact.model) if device == "cuda" else exact.model
    assert width.checked_width(None, model, threads) == wanted


def test_the_default_is_never_out_of_range(
    exact: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(width, "memory_bytes", lambda: None)
    assert width.checked_width(None, exact.model, 100_000) == width.MAX_WIDTH


@pytest.mark.parametrize(("streams", "wanted"), [(300, 300), (100, 100), (0.5, 1)])
def test_the_default_is_what_memory_holds_where_that_is_less(
    exact: Generator, monkeypatch: pytest.MonkeyPatch, streams: float, wanted: int
) -> None:
    held = int(streams * width.stream_bytes(exact.model))
    monkeypatch.setattr(width, "memory_bytes", lambda: held)
    assert width.checked_width(None, exact.model, threads=2) == wanted
