"""What a plan measures, what it needs for that, and what it leaves out."""

import os
import re
from pathlib import Path

import pytest

from charlm.benchmarks import plan
from charlm.benchmarks.cases import ours
from charlm.benchmarks.harness.settings import LITERT_STEP, PROBE, WEIGHTS, CaseSettings
from charlm.benchmarks.harness.worker import load
from charlm.benchmarks.lineup import CASES, LIMITS, SWEEPS, Sweep
from charlm.benchmarks.plan import LIMITS_PART, NAMES, PROCESSES, BenchPlan
from charlm.data.system.errors import SettingsError

MODEL = Path("some.onnx")


def test_names_are_distinct() -> None:
    names = [*NAMES, *(bound.name for bound in LIMITS)]
    assert len(set(names)) == len(names)


def test_what_a_gpu_has_rows_for_is_what_its_check_measures() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    rows = makefile.partition("CUDA_ROWS :=")[2].partition("\n#")[0]
    measured = set(re.findall(r"[a-z]\w+", rows))
    assert {case.name for case in CASES if case.cuda} <= measured <= set(NAMES)


def test_rows_of_clusters_ask_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARLM_CLUSTERS", "0")  # as it was, once the test ends
    rows = [case for case in CASES if "clusters" in case.name]
    assert {case.precision for case in rows if case.batch > 1} == {"fp16"}
    for case in rows:
        assert callable(load(case.target))
    ask = ours._on_clusters(lambda _: lambda _: os.environ["CHARLM_CLUSTERS"])
    assert ask(CaseSettings("", ""))(1) == "1"


@pytest.mark.parametrize("each", SWEEPS, ids=lambda each: each.name)
def test_every_sweep_has_known_procedures_and_values(each: Sweep) -> None:
    assert set(each.titles) <= {case.name for case in CASES}
    assert set(each.quick) <= set(each.values)
    assert each.cases(slow=False), "a quick run would have nothing to measure"


def test_everything_is_wanted_unless_something_is_named() -> None:
    full = BenchPlan(MODEL)
    assert [case.name for case in full.cases()] == [c.name for c in CASES if not c.cuda]
    assert full.bounds() == LIMITS
    assert full.sweeps() == [sweep for sweep in SWEEPS if not sweep.cuda]
    assert full.wants(PROCESSES)
    assert full.left_out() == ()
    some = BenchPlan(MODEL, only=("sweep_hidden", "charlm_step"))
    assert [each.name for each in some.sweeps()] == ["sweep_hidden"]
    assert [each.name for each in some.cases()] == ["charlm_step"]
    assert not some.bounds()
    assert not some.wants(PROCESSES)


def test_cuda_takes_in_what_runs_there() -> None:
    cuda = BenchPlan(MODEL, provider="cuda")
    assert cuda.cases() == list(CASES)
    assert cuda.sweeps() == list(SWEEPS)
    assert all("_cuda" in case.name for case in CASES if case.cuda)


def test_a_quick_plan_leaves_out_what_starts_slowly_and_says_so() -> None:
    found = plan.quick(BenchPlan(MODEL))
    assert not any(each.slow for each in found.cases())
    said = found.left_out()
    assert "notebook: Keras, 40-character window" in said
    assert said[-1] == "all but two values of each sweep"
    assert LITERT_STEP not in found.artifacts()


def test_what_is_named_is_measured_quickly_too() -> None:
    found = plan.quick(BenchPlan(MODEL, only=("keras_window",)))
    assert [case.name for case in found.cases()] == ["keras_window"]
    assert found.left_out() == ()


@pytest.mark.parametrize(
    ("only", "needed"),
    [
        (("charlm_step",), []),
        (("torch_step",), [WEIGHTS]),
        (("litert_step", "litert_batch"), [WEIGHTS, LITERT_STEP]),
        ((LIMITS_PART, "plain_loop"), [PROBE]),
        (("sweep_steps",), [PROBE]),
        (("sweep_hidden",), [f"hidden-{n}" for n in (64, 128, 192, 256, 512, 1024)]),
    ],
)
def test_only_what_is_needed_is_prepared(only: tuple[str, ...], needed: list[str]) -> None:
    assert BenchPlan(MODEL, only=only).artifacts() == needed


@pytest.mark.parametrize("given", [{"rounds": 0}, {"threads": 0}])
def test_less_than_one_is_refused(given: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match="at least 1"):
        BenchPlan(MODEL, **given)
