"""Memory of the host that a GPU reads and writes at its full rate."""

from collections.abc import Callable
from typing import Any

import pytest

from charlm.data.system.errors import ModelFileError
from charlm.infer.request import Request
from tests.infer.engines.gpu.conftest import Made
from tests.infer.engines.gpu.process import Gpu, bits, life_of_pinned_memory, texts, while_pinned


def test_pinned_memory_is_used_again_once_nobody_sees_it(emulated: Gpu) -> None:
    most = {"EMULATED_PINNED": str(10 << 20)}  # a piece goes before another is pinned in its place
    assert emulated(life_of_pinned_memory, 1 << 20, variables=most) == {
        "an array": 1,
        "another, while a view of the first is left": 2,
        "a third, once none is left": 2,
        "a larger one": 6,
        "as large a one again": 6,
        "the largest, in place of one that is free": 10,
        "small ones, in any memory": 10,
        "an array that outlives its memory": 1,
        "nothing": 0,
    }


PINNED = (
    (texts, [Request("1+1", length=5 + row % 9, seed=2, sample=row) for row in range(9)], 4),
    (bits, "float32", "12+34=46, 56" * 3),
)


@pytest.mark.parametrize(("function", "settings", "more"), PINNED)
def test_what_comes_through_pinned_memory_is_the_cpus(
    gpu: Gpu, made: Made, function: Callable[..., Any], settings: Any, more: Any
) -> None:
    path = made(300, 25, 3)
    found, held = gpu(while_pinned, function.__name__, path, "cuda", settings, more)
    wanted = function(path, "cpu", settings, more)
    assert found == (pytest.approx(wanted, abs=1e-4) if function is bits else wanted)
    assert gpu.real or held > 0


@pytest.mark.parametrize("most", [0, 3000])
def test_where_no_more_is_pinned_any_memory_will_do(emulated: Gpu, made: Made, most: int) -> None:
    function, settings, more = PINNED[0]
    path, limit = made(300, 25, 3), {"EMULATED_PINNED": str(most)}
    call = (while_pinned, function.__name__, path, "cuda", settings, more)
    found, held = emulated(*call, variables=limit)
    assert found == function(path, "cpu", settings, more)
    assert held <= most
    assert bool(held) == bool(most)


def test_a_refusal_of_a_run_through_pinned_memory_is_a_line(empty: Gpu, made: Made) -> None:
    path, limits = made(28, 17, 1), {"EMULATED_MEMORY": str(2 << 20), "EMULATED_RATE": "1e9"}
    requests = [Request("1", length=20_000, sample=row) for row in range(900)]
    with pytest.raises(ModelFileError, match=r"^no memory on an emulated GPU for 1 MiB: give a sm"):
        empty(texts, path, "cuda", requests, 900, variables=limits)
