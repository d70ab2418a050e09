"""Sweeps: their definition, their running with no real processes, and their pictures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from charlm.benchmarks import artifacts, lineup, sweeps
from charlm.benchmarks.harness import timing
from charlm.benchmarks.harness.settings import CaseSettings
from charlm.benchmarks.harness.timing import Measured
from charlm.benchmarks.report import sweep_plot
from charlm.benchmarks.report.report import Report
from charlm.benchmarks.report.results import SweepResult
from charlm.benchmarks.sweeps import SWEEPS, Effort, Sweep

RATES = {
    "weights_read": 7.0,
    "weights_back_and_forth": 5.0,
    "multiply_add": 2.0,
}


def sweep(name: str) -> Sweep:
    return next(each for each in SWEEPS if each.name == name)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[timing.Worker]:
    """The workers of a sweep, which are never started: each has its rate by its name."""
    workers: list[timing.Worker] = []

    def measure(
        given: Sequence[timing.Worker], rounds: int, seconds: float, say: timing.Say
    ) -> list[Measured]:
        assert (rounds, seconds) == (3, 0.1)
        workers.extend(given)
        return [one(worker.name) for worker in given]

    def one(name: str) -> Measured:
        case, _, value = name.partition(" at ")
        if value == "int8":
            return Measured(name, skipped="no such path")
        return Measured(name, 1, (RATES.get(case, 100.0),) * 3)

    monkeypatch.setattr(sweeps.timing, "measure", measure)
    return workers


def run(name: str, settings: CaseSettings) -> SweepResult:
    bits = {"float32": 2.0, "int8": 2.01}
    return sweeps.run(sweep(name), settings, Effort(3, 0.1, True), bits, lambda line: None)


@pytest.fixture
def sized(case_settings: CaseSettings, tmp_path: Path) -> CaseSettings:
    """Settings whose artifacts hold the sizes of models of 64 and 256 units, and no models."""
    like = artifacts.read_info(Path(case_settings.artifacts))
    for hidden in (64, 256):
        folder = tmp_path / artifacts.sized(hidden)
        folder.mkdir()
        info = replace(like, hidden=hidden, layers=1)
        (folder / artifacts.INFO).write_text(artifacts.json.dumps(artifacts.asdict(info)))
    (tmp_path / artifacts.INFO).write_text(artifacts.json.dumps(artifacts.asdict(like)))
    return replace(case_settings, artifacts=str(tmp_path))


@pytest.mark.parametrize("each", SWEEPS, ids=lambda each: each.name)
def test_every_sweep_names_known_procedures_and_values(each: Sweep) -> None:
    known = {case.name for case in lineup.CASES}
    assert {series.case for series in each.series} <= known
    assert set(each.quick) <= set(each.values)
    assert each.cases(slow=False), "a quick run would have nothing to measure"


def test_a_point_is_its_procedure_with_one_setting_changed(case_settings: CaseSettings) -> None:
    case = lineup.case("charlm_generate_batch")
    told = sweep("sweep_batch").settings(case, 8, case_settings)
    assert told == replace(case.settings(case_settings), batch=8)
    assert told.path == "generate"


def test_a_size_has_a_model_of_its_own(case_settings: CaseSettings) -> None:
    told = sweep("sweep_hidden").settings(lineup.case("charlm_step"), 512, case_settings)
    assert Path(told.model) == Path(case_settings.artifacts) / "hidden-512" / "model.onnx"
    assert Path(told.artifacts).name == "hidden-512"
    assert sweep("sweep_hidden").needs((64, 512), slow=True) == ("hidden-64", "hidden-512")


def test_rates_are_of_all_streams_and_a_limit_is_measured_once(
    case_settings: CaseSettings, started: list[timing.Worker]
) -> None:
    found = run("sweep_batch", case_settings)
    lines = {series.name: series for series in found.series}
    assert [point.rates[0] for point in lines["charlm_native_batch"].points] == [100.0, 6400.0]
    assert [point.x for point in lines["charlm_native_batch"].points] == [1.0, 64.0]
    assert [point.rates[0] for point in lines["vector"].points] == [7.0, 7.0]  # the better way
    assert lines["product"].points[0].rates == lines["product"].points[1].rates
    bounds = [worker.name for worker in started if worker.name.startswith("weights_read")]
    assert bounds == ["weights_read at 1"]  # the same weights, however many texts


def test_limits_follow_the_size_of_the_model(
    sized: CaseSettings, started: list[timing.Worker]
) -> None:
    found = run("sweep_hidden", sized)
    lines = {series.name: series for series in found.series}
    names = [worker.name for worker in started if not worker.name.startswith(("charlm", "litert"))]
    assert names == [
        "weights_read at 64", "weights_read at 256", "weights_back_and_forth at 64",
        "weights_back_and_forth at 256", "multiply_add at 64",
    ]  # fmt: skip
    small, large = (artifacts.read_info(Path(sized.artifacts) / f"hidden-{n}") for n in (64, 256))
    first, last = (point.rates[0] for point in lines["product"].points)
    assert first / last == pytest.approx(large.flops / small.flops, rel=1e-3)


def test_quality_lies_along_the_axis_and_what_is_missing_says_why(
    case_settings: CaseSettings, started: list[timing.Worker]
) -> None:
    found = run("sweep_precision", case_settings)
    assert not found.logarithmic
    exact, rounded = found.series[0].points
    assert (exact.label, exact.x, exact.rates[0]) == ("float32", 2.0, 100.0)
    assert (rounded.label, rounded.x, rounded.skipped) == ("int8", 2.01, "no such path")


def test_a_quick_run_leaves_out_what_starts_slowly(
    case_settings: CaseSettings, started: list[timing.Worker]
) -> None:
    names = [series.name for series in run("sweep_batch", case_settings).series]
    assert "litert_batch" not in names
    assert "torch_batch" in names


def test_a_picture_names_every_line_and_its_letters_stay_letters(report: Report) -> None:
    picture = sweep_plot.draw(report.sweeps[0])
    assert picture is not None
    for name in (b"charlm", b"Torch", b"limit, many texts", b"texts in one batch"):
        assert name in picture
    assert picture == sweep_plot.draw(report.sweeps[0])


def test_points_of_quality_bear_their_precision(report: Report) -> None:
    picture = sweep_plot.draw(report.sweeps[1])
    assert picture is not None
    assert b"float32" in picture
    assert b"int8" in picture
    assert b"fp16" not in picture  # not measured


def test_limits_alone_are_no_picture(report: Report) -> None:
    only = tuple(series for series in report.sweeps[0].series if series.is_limit)
    assert sweep_plot.draw(replace(report.sweeps[0], series=only)) is None


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0, "1"), (20_000.0, "20k"), (1.5e6, "1.5M"), (2e9, "2G")]
)
def test_figures_of_an_axis_are_short(value: float, shown: str) -> None:
    assert sweep_plot.short(value) == shown


def test_every_line_has_a_colour_and_a_marker_of_its_own() -> None:
    most = max(len(each.series) for each in sweeps.SWEEPS)
    assert len(set(sweep_plot.COLOURS)) >= most
    assert len(set(sweep_plot.MARKERS)) >= most
