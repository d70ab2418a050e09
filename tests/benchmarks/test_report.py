"""The report: spreads, ratios, answers, its JSON, Markdown, and what it must not hold."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

from charlm.benchmarks import suite
from charlm.benchmarks.harness.machine import slug, without_paths
from charlm.benchmarks.report import page
from charlm.benchmarks.report import report as reports
from charlm.benchmarks.report.report import BenchReport
from charlm.benchmarks.report.results import CaseResult, Spread, fastest, rounded, significant
from charlm.data.system.errors import SettingsError

COMMITTED = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*/report.json"))


def case(report: BenchReport, name: str) -> CaseResult:
    return next(each for each in report.cases if each.name == name)


def test_spreads() -> None:
    assert Spread.of([5.0, 1.0, 3.0]) == Spread(3.0, 1.0, 5.0)
    assert Spread.of([4.0, 1.0, 2.0, 10.0]) == Spread(3.0, 1.0, 10.0)
    assert Spread.of([]) is None


@pytest.mark.parametrize(
    ("trials", "unstable"),
    [
        ([100.0, 149.0], False),  # of two trials only the ends say something
        ([100.0, 151.0], True),
        ([100.0, 101.0, 102.0, 103.0, 120.0], False),
        ([100.0, 100.0, 110.0, 120.0, 120.0], True),  # the middle half spans 20 of 110
    ],
)
def test_wide_quartiles_or_ends_are_unstable(trials: list[float], unstable: bool) -> None:
    spread = Spread.of(trials)
    assert spread is not None
    assert spread.unstable is unstable


def test_what_a_report_holds_is_rounded() -> None:
    assert rounded((1.2345678, 2.0), 10) == (12.346, 20.0)
    assert [significant(value, 3) for value in (123456.0, -98765.0, 0.0)] == [123e3, -98.8e3, 0]
    assert significant(0.00123456, 3) == pytest.approx(0.00123, rel=1e-12)


def test_ratios_are_taken_round_by_round(report: BenchReport) -> None:
    assert report.to_notebook(case(report, "charlm_step")) == Spread(2750.0, 2000.0, 3000.0)
    alone = replace(report, cases=report.cases[1:])
    assert alone.to_notebook(case(alone, "charlm_step")) is None
    with pytest.raises(ValueError, match="shorter"):
        CaseResult("a", "a", rates=(1.0, 2.0)).ratio(CaseResult("b", "b", rates=(1.0,)))


def test_the_fastest_way_is_the_limit(report: BenchReport) -> None:
    best = report.best_limit("vector")
    assert best is not None
    assert best.name == "read_back"
    assert report.to_limit(case(report, "charlm_step")) == Spread(0.4, 1 / 3, 0.44)
    assert report.best_limit("product") is None
    assert fastest(()) is None


def test_a_limit_of_float32_on_one_core_bounds_nothing_else(report: BenchReport) -> None:
    exact = case(report, "charlm_step")
    assert report.to_limit(exact) is not None
    for other in ({"precision": "int8"}, {"every_core": True}, {"limit": None}):
        assert report.to_limit(replace(exact, **other)) is None


def test_unstable_figures_are_counted_and_warned_of(report: BenchReport) -> None:
    # The notebook, many texts, and two processes; neither what is skipped nor what is steady.
    assert report.unstable() == (4, 11)
    assert "4 of 11 figures are unstable" in page.render_markdown(report, {})
    steady = replace(report, processes=(), cases=report.cases[2:5])
    assert "Warning" not in page.render_markdown(steady, {})


class TestAnswers:
    """What is fastest for each job."""

    def test_each_job_has_its_fastest_exact_way_and_a_faster_rounded_one(
        self, report: BenchReport
    ) -> None:
        found = {answer.job: answer for answer in report.answers()}
        assert list(found) == ["one text, CPU", "one text, CPU, int8", "many texts, CPU"]
        exact, lossy, many = found.values()
        assert (exact.case.name, exact.loss) == ("charlm_generate", None)
        assert (lossy.case.name, lossy.loss) == ("charlm_int8", pytest.approx(0.005))
        assert (exact.rival, lossy.rival) == (None, None)
        assert many.rival is not None
        assert many.rival.name == "litert_batch"

    def test_a_slower_precision_is_no_answer(self, report: BenchReport) -> None:
        slow = tuple(
            replace(case, rates=(1.0, 1.0, 1.0)) if case.precision == "int8" else case
            for case in report.cases
        )
        found = [answer.job for answer in replace(report, cases=slow).answers()]
        assert found == ["one text, CPU", "many texts, CPU"]

    def test_what_nobody_can_ask_for_is_no_answer_where_something_can_be(
        self, report: BenchReport
    ) -> None:
        fast = tuple(
            replace(each, rates=(1e6,) * 3) if each.name == "charlm_step" else each
            for each in report.cases
        )
        assert next(replace(report, cases=fast).answers()).case.name == "charlm_generate"
        unasked = tuple(replace(each, use="") for each in fast)
        assert next(replace(report, cases=unasked).answers()).case.name == "charlm_step"

    def test_the_gpu_has_answers_of_its_own(self, report: BenchReport) -> None:
        gpu = replace(report.cases[3], name="charlm_cuda", rates=(1e6, 1e6, 1e6), cuda=True)
        both = replace(report, cases=(*report.cases, gpu))
        found = {answer.job: answer.case.name for answer in both.answers()}
        assert found["one text, CPU"] == "charlm_generate"
        assert found["one text, GPU"] == "charlm_cuda"


@dataclass(frozen=True)
class Inner:
    x: float
    name: str = "n"


@dataclass(frozen=True)
class Outer:
    inner: Inner
    many: tuple[Inner, ...] = ()
    rates: tuple[float, ...] = ()
    maybe: Inner | None = None
    versions: dict[str, str] | None = None


class TestJson:
    """Dataclasses out of JSON: what they were, or an error that says what was expected."""

    def test_what_was_written_is_read(self, report: BenchReport, tmp_path: Path) -> None:
        whole = Outer(Inner(1.5), (Inner(2.0, "b"), Inner(3.0)), (1.0, 2.5), None, {"a": "1"})
        assert reports.read(Outer, json.loads(json.dumps(asdict(whole)))) == whole
        assert isinstance(reports.read(Outer, {"inner": {"x": 2}}).inner.x, float)
        path = tmp_path / "report.json"
        path.write_text(report.to_json(), encoding="utf-8")
        assert reports.load(path) == report

    @pytest.mark.parametrize(
        ("values", "said"),
        [
            ([], "an object is expected"),
            ({}, "inner"),
            ({"inner": {"x": "1"}}, "float is expected"),
            ({"inner": {"x": True}}, "float is expected"),
            ({"inner": {"x": 1.0, "y": 2}}, "unknown y"),
            ({"inner": {"x": 1.0}, "rates": "12"}, "a list is expected"),
            ({"inner": {"x": 1.0}, "many": [1]}, "an object is expected"),
            ({"inner": {"x": 1.0}, "versions": "12"}, "an object is expected"),
        ],
    )
    def test_another_form_is_refused(self, values: object, said: str) -> None:
        with pytest.raises(TypeError, match=said):
            reports.read(Outer, values)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "{}",
            '{"format": 2}',
            '{"format": 2, "sweeps": "ab"}',
            '{"format": 1}',
            '{"format": 99}',
            '{"format": "2"}',
        ],
    )
    def test_what_is_no_report_is_refused(self, text: str, tmp_path: Path) -> None:
        path = tmp_path / "some.json"
        path.write_text(text)
        with pytest.raises(SettingsError, match=r"some\.json"):
            reports.load(path)

    @pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
    def test_committed_reports_are_still_read(self, path: Path, tmp_path: Path) -> None:
        found = reports.load(path)
        assert "| **charlm" in page.figures(found)
        assert "report.html" in suite.write(found, tmp_path / "again")
        assert "your case" in (tmp_path / "again" / "report.html").read_text(encoding="utf-8")


def test_the_table_of_speeds(report: BenchReport) -> None:
    some = replace(report, cases=report.cases[:3])
    assert page.figures(some, every=False).splitlines() == [
        "| procedure | characters/s | spread | × notebook | of float32's limit | first character "
        "| peak memory |",
        "| --- | --: | --: | --: | --: | --: | --: |",
        "| notebook | 16 | unstable 10 to 20 | 1 | 0.016 % |  | 600.0 MiB |",
        "| Torch | skipped: torch is <not> there |  |  |  |  |  |",
        "| **charlm** | 40,000 | 30,000 to 44,000 | 2,750 | 40 % | 0.120 s | 64.0 MiB |",
        "| *float32's limit, one stream: reading back, 32 GFLOP/s* "
        "| 100,000 | 90,000 to 100,000 |  | 100 % |  |  |",
    ]


def test_where_no_procedure_was_measured_the_other_tables_are_shown(report: BenchReport) -> None:
    shown = page.figures(replace(report, cases=(), limits=()), every=False)
    for title in ("Speed against batch", "Quality", "Whole processes"):
        assert f"{title}\n\n|" in shown


def test_markdown_names_machine_method_and_everything_skipped(report: BenchReport) -> None:
    text = page.render_markdown(report, {"sweep_batch": b""})
    for expected in (
        "Some CPU | 9000, 2 cores, 8 GiB",
        "python 3.11.7",
        "1 thread on one core",
        "| Torch | skipped: torch is <not> there |",
        "multiplying: no compiler",
        "| **one text, CPU** | charlm-gen | 88,000 | 5,500 |  |",
        "| **one text, CPU, int8** | charlm-gen --precision int8 | 120,000 | 8,250 | +0.005 |",
        "many texts, CPU: LiteRT, 64 texts was 1.34 times as fast in this run.",
        "## Speed against batch\n\n![Speed against batch](sweep_batch.svg)",
        "| 64 | 302,000 | skipped | 400,000 |",
        "Speed against batch: Torch at 64: no memory",
        "| int8 | 1.9950 | 5,000 |",
        "| `gen` | 0.100 s (0.100 to 0.100) | unstable 0.280 s (0.150 to 0.500) | 66.0 MiB |",
    ):
        assert expected in text
    assert "speed.svg" not in text


def test_figures_of_a_gpu_say_how_long_their_trials_were(report: BenchReport) -> None:
    """A GPU that is fast for an instant may be slower for long."""
    assert "Trials on the GPU" not in page.render_markdown(report, {})
    rates = (50_000.0, 40_000.0, 30_000.0)
    gpu = replace(report.cases[3], title="charlm on CUDA", rates=rates, units=60_000, cuda=True)
    text = page.render_markdown(replace(report, cases=(*report.cases, gpu)), {})
    assert "Trials on the GPU: charlm on CUDA: 60,000 characters in 1.50 s" in text


def test_every_file_is_written_and_the_same_report_gives_the_same_bytes(
    report: BenchReport, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    names = suite.write(report, tmp_path)
    pictures = ["speed.svg", "sweep_batch.svg"]
    assert names == ["report.json", "report.html", "report.md", *pictures]
    before = [(tmp_path / name).read_bytes() for name in names]
    assert all(b"<svg" in content for content in before[3:])
    suite.write(report, tmp_path)
    assert [(tmp_path / name).read_bytes() for name in names] == before


def test_a_report_of_nothing_but_reasons_is_written(report: BenchReport, tmp_path: Path) -> None:
    skipped = tuple(replace(each, rates=(), skipped="why") for each in report.cases)
    names = suite.write(replace(report, cases=skipped, sweeps=()), tmp_path)
    assert names == ["report.json", "report.html", "report.md"]
    assert "speed.svg" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_reasons_lose_their_folders() -> None:
    reason = "OSError: can't open /home/someone/secret/x.onnx, see C:\\Users\\someone\\log.txt"
    assert without_paths(reason) == "OSError: can't open x.onnx, see log.txt"
    assert without_paths("2 characters/s, and/or nothing") == "2 characters/s, and/or nothing"


@pytest.mark.parametrize(
    ("cpu", "name"),
    [
        ("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", "intel-xeon-platinum-8481c-cpu"),
        ("Apple M3 Pro", "apple-m3-pro"),
        ("", "machine"),
    ],
)
def test_the_folder_is_named_after_the_processor(cpu: str, name: str) -> None:
    assert slug(cpu) == name
