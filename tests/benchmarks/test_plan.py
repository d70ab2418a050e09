"""What a plan measures, and what it needs for that."""

from pathlib import Path

import pytest

from charlm.benchmarks import artifacts, plan
from charlm.benchmarks.lineup import CASES, LIMITS
from charlm.benchmarks.plan import PARTS, Plan
from charlm.benchmarks.sweeps import SWEEPS

MODEL = Path("some.onnx")


def test_everything_is_wanted_unless_something_is_named() -> None:
    full = Plan(MODEL)
    assert [case.name for case in full.cases()] == [c.name for c in CASES if not c.cuda]
    assert full.bounds() == list(LIMITS)
    assert full.sweeps() == [sweep for sweep in SWEEPS if not sweep.cuda]
    assert Plan(MODEL, provider="cuda").sweeps() == list(SWEEPS)
    assert any(sweep.cuda for sweep in SWEEPS)
    assert all(full.wants(part) for part in PARTS)
    assert full.left_out() == ()


def test_sweeps_are_named_as_cases_are() -> None:
    found = Plan(MODEL, only=("sweep_hidden", "charlm_step"))
    assert [each.name for each in found.sweeps()] == ["sweep_hidden"]
    assert [each.name for each in found.cases()] == ["charlm_step"]
    assert found.bounds() == []
    assert not any(found.wants(part) for part in PARTS)


def test_a_quick_plan_leaves_out_what_starts_slowly_and_says_so() -> None:
    found = plan.quick(Plan(MODEL))
    assert not any(each.slow for each in (*found.cases(), *found.bounds()))
    said = found.left_out()
    assert "notebook: Keras, 40-character window" in said
    assert said[-1] == "all but two values of each sweep"
    assert artifacts.LITERT_STEP not in found.artifacts()
    assert found.sweep_effort().quick


def test_what_is_named_is_measured_quickly_too() -> None:
    found = plan.quick(Plan(MODEL, only=("keras_window",)))
    assert [case.name for case in found.cases()] == ["keras_window"]
    assert "notebook: Keras, 40-character window" not in found.left_out()


def test_only_what_is_needed_is_prepared() -> None:
    def needed(*only: str) -> list[str]:
        return Plan(MODEL, only=only).artifacts()

    assert needed("charlm_step", "flips", "memory") == []
    assert needed("onnx_window") == [artifacts.WEIGHTS, artifacts.WINDOW]
    assert needed("litert_step", "litert_batch") == [artifacts.WEIGHTS, artifacts.LITERT_STEP]
    assert needed("limits", "plain_loop") == [artifacts.PROBE]
    sizes = [artifacts.sized(n) for n in (64, 128, 192, 256, 512, 1024)]
    assert needed("sweep_hidden") == [*sizes, artifacts.PROBE]


@pytest.mark.parametrize("name", Plan(MODEL).artifacts())
def test_every_file_that_is_needed_can_be_made(name: str) -> None:
    assert artifacts._maker(name)
