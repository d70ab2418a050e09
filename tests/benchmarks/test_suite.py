"""A run's parts: sweeps with workers that are never started, and real scores."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from charlm.benchmarks import suite
from charlm.benchmarks.harness import artifacts, timing
from charlm.benchmarks.harness.settings import PROMPT, CaseSettings
from charlm.benchmarks.harness.timing import Measured
from charlm.benchmarks.lineup import SWEEPS, case_named
from charlm.benchmarks.plan import BenchPlan, quick
from charlm.benchmarks.report.results import SweepResult, SweepSeries
from charlm.infer.model.open import open_model
from charlm.infer.scoring.score import Scorer

RATES = {"weights_read": 7.0, "weights_back_and_forth": 5.0, "multiply_add": 2.0}
Run = Callable[[str, CaseSettings], SweepResult]


@pytest.fixture
def started() -> list[timing.Worker]:
    """The workers of a sweep."""
    return []


@pytest.fixture
def run(started: list[timing.Worker], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a sweep quickly, where each worker has its rate by its name."""

    def measure(
        given: Sequence[timing.Worker], rounds: int, seconds: float, say: timing.Say
    ) -> list[Measured]:
        assert (rounds, seconds) == (1, 0.025), "half of what procedures get"
        started.extend(given)
        return [one(worker.name) for worker in given]

    def one(name: str) -> Measured:
        if name == "openvino_batch at 64":
            return Measured(skipped="no memory")
        return Measured(1, (RATES.get(name.partition(" at ")[0], 100.0),) * 3)

    def run(name: str, settings: CaseSettings) -> SweepResult:
        sweep = next(each for each in SWEEPS if each.name == name)
        plan = quick(BenchPlan(Path(settings.model)))
        return suite._sweep(sweep, plan, settings, print)

    monkeypatch.setattr(timing, "measure", measure)
    return run


def lines(found: SweepResult) -> dict[str, SweepSeries]:
    return {series.name: series for series in found.series}


def rates(series: SweepSeries) -> list[float]:
    return [point.rates[0] for point in series.points]


@pytest.fixture
def sized(case_settings: CaseSettings, tmp_path: Path) -> CaseSettings:
    """Settings whose artifacts hold the sizes of models of 64 and 256 units, and no models."""
    like = artifacts.read_info(Path(case_settings.artifacts))
    for hidden in (64, 256):
        folder = tmp_path / f"hidden-{hidden}"
        folder.mkdir()
        info = replace(like, hidden=hidden, layers=1)
        (folder / artifacts.INFO).write_text(artifacts.json.dumps(asdict(info)))
    return replace(case_settings, artifacts=str(tmp_path))


def test_a_point_is_its_procedure_with_one_setting_changed(case_settings: CaseSettings) -> None:
    case = case_named("charlm_generate_batch")
    batch, *_, hidden = SWEEPS
    told = batch.settings(case, 8, case_settings)
    assert told == replace(case.settings(case_settings), batch=8)
    assert told.path == "blocks"
    told = hidden.settings(case_named("charlm_step"), 512, case_settings)
    assert Path(told.model) == Path(case_settings.artifacts) / "hidden-512" / "model.onnx"
    assert Path(told.artifacts).name == "hidden-512"


def test_rates_are_of_all_streams_and_a_limit_is_measured_once(
    case_settings: CaseSettings, run: Run, started: list[timing.Worker]
) -> None:
    found = lines(run("sweep_batch", case_settings))
    assert rates(found["charlm_native_batch"]) == [100.0, 6400.0]
    assert [point.x for point in found["charlm_native_batch"].points] == [1.0, 64.0]
    assert rates(found["vector"]) == [7.0, 7.0], "the better way"
    first, last = rates(found["product"])
    assert first == last
    names = [worker.name for worker in started]
    assert [name for name in names if "weights_read" in name] == ["weights_read at 1"]
    assert "litert_batch" not in found, "a quick run leaves out what starts slowly"
    assert [point.skipped for point in found["openvino_batch"].points] == [None, "no memory"]


def test_limits_follow_the_size_of_the_model(
    sized: CaseSettings, run: Run, started: list[timing.Worker]
) -> None:
    found = lines(run("sweep_hidden", sized))
    assert {f"weights_read at {n}" for n in (64, 256)} <= {worker.name for worker in started}
    small, large = (artifacts.read_info(Path(sized.artifacts) / f"hidden-{n}") for n in (64, 256))
    first, last = rates(found["product"])
    assert first / last == pytest.approx(large.flops / small.flops, rel=1e-3)


class TestScores:
    """Bits per character of the start of a text, by `charlm-score`."""

    def test_the_figure_is_the_scorers(self, case_settings: CaseSettings, tmp_path: Path) -> None:
        text = tmp_path / "held-out.txt"
        text.write_text((PROMPT * 10).replace("w", "w☃"), encoding="utf-8")
        known = (PROMPT * 10)[:80]
        wanted = Scorer(open_model(Path(case_settings.model), "cpu", 1)).score([known])
        characters = len(known) + known.count("w")  # the model has no snowman
        exact, int8 = suite.score(["float32", "int8"], case_settings, text, characters)
        assert exact.bits == pytest.approx(wanted.bits_per_character, rel=1e-5)
        assert (exact.characters, exact.text, exact.skipped) == (79, "held-out.txt", None)
        assert int8.bits

    def test_a_precision_is_scored_where_it_runs(
        self, case_settings: CaseSettings, tiny_text: Path
    ) -> None:
        (found,) = suite.score(["fp16"], case_settings, tiny_text, 100)
        assert found.bits or "--provider cuda can't run here" in (found.skipped or "")

    @pytest.mark.parametrize(("content", "why"), [(b"", "too short"), (b"ab\xff", "utf-8")])
    def test_what_can_not_be_scored_says_why(
        self, content: bytes, why: str, case_settings: CaseSettings, tmp_path: Path
    ) -> None:
        text = tmp_path / "odd.txt"
        text.write_bytes(content)
        (found,) = suite.score(["float32"], case_settings, text, 100)
        assert found.bits is None
        assert why in (found.skipped or "").lower()
        assert str(tmp_path) not in (found.skipped or "")
