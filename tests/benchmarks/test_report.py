"""The report: ratios, the JSON round trip, Markdown, pictures, and what it must not hold."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from charlm.benchmarks import suite
from charlm.benchmarks.harness.machine import slug, without_paths
from charlm.benchmarks.report import markdown
from charlm.benchmarks.report import report as reports
from charlm.benchmarks.report.report import Report
from charlm.benchmarks.report.results import CaseResult, Spread
from charlm.data.system.errors import SettingsError


def case(report: Report, name: str) -> CaseResult:
    found = report.case(name)
    assert found is not None
    return found


def test_json_gives_the_same_report_again(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(report.to_json(), encoding="utf-8")
    assert reports.load(path) == report


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 1}', '{"format": 99}', '{"format": "2"}']
)
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"some\.json"):
        Report.from_json(text, "some.json")


def test_ratio_to_the_notebook_is_the_median_over_rounds(report: Report) -> None:
    assert report.to_notebook(case(report, "charlm_step")) == Spread(2750.0, 2000.0, 3000.0)


def test_the_best_library_is_the_limit(report: Report) -> None:
    best = report.best_limit("vector")
    assert best is not None
    assert best.name == "onnx_vector"
    assert report.to_limit(case(report, "charlm_step")) == Spread(0.4, 1 / 3, 0.44)
    assert report.best_limit("product") is None


def test_without_the_notebook_there_is_no_ratio(report: Report) -> None:
    alone = replace(report, cases=report.cases[1:])
    assert alone.to_notebook(case(alone, "charlm_step")) is None


def test_the_pair_is_compared_pair_by_pair(report: Report) -> None:
    ratio = report.pair_ratio()
    assert ratio is not None
    assert ratio.median == pytest.approx(1.4)
    assert (ratio.low, ratio.high) == pytest.approx((1.25, 1.5))


def test_speed_table(report: Report) -> None:
    some = replace(report, cases=report.cases[:3])
    assert markdown.speed_table(some).splitlines() == [
        "| procedure | characters/s | × notebook | of the limit | first character | peak memory |",
        "| --- | --: | --: | --: | --: | --: |",
        "| notebook | 16 (10 to 20) unstable | 1 | 0.016 % |  | 600.0 MiB |",
        "| Torch | skipped: torch is <not> there |  |  |  |  |",
        "| **charlm** | 40,000 (30,000 to 44,000) | 2,750 | 40 % "
        "| 0.120 s (0.110 to 0.130) | 64.0 MiB |",
        "| *limit, one stream: 32 GFLOP/s of products alone* "
        "| 100,000 (90,000 to 100,000) |  | 100 % |  |  |",
    ]


def test_a_limit_of_float32_on_one_core_bounds_nothing_else(report: Report) -> None:
    exact = case(report, "charlm_step")
    assert report.to_limit(exact) is not None
    assert report.to_limit(replace(exact, precision="int8")) is None
    assert report.to_limit(replace(exact, every_core=True)) is None
    assert report.to_limit(replace(exact, limit=None)) is None


def test_unstable_figures_are_counted(report: Report) -> None:
    # The notebook, many texts, and two processes; neither what is skipped nor what is steady.
    assert reports.unstable(report) == (4, 11)


COMMITTED = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*/report.json"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_committed_reports_are_still_read(path: Path, tmp_path: Path) -> None:
    found = reports.load(path)
    assert "| **charlm" in markdown.speed_table(found)
    assert "report.html" in suite.render(found, tmp_path / "again")
    assert "your case" in (tmp_path / "again" / "report.html").read_text(encoding="utf-8")


def test_a_report_of_format_1_tells_the_job_by_its_limit() -> None:
    assert CaseResult("charlm_step", "charlm", "vector").task == "one text"
    assert CaseResult("charlm_samples", "charlm", "product").task == "many texts"


def test_markdown_names_machine_method_and_everything_skipped(report: Report) -> None:
    text = markdown.render(report)
    for expected in (
        "Some CPU | 9000, 2 cores, 8 GiB",
        "python 3.11.7",
        "1 thread on one core",
        "| Torch | skipped: torch is <not> there |",
        "skipped: no BLAS",
        "1.40 times as long",
        "| one text, CPU | charlm-gen | 88,000 | 5,500 |".replace(
            "one text, CPU", "**one text, CPU**"
        ),
        "many texts, CPU: LiteRT, 64 texts was 1.34 times as fast in this run.",
        "## Speed against batch",
        "| 64 | 302,000 | skipped | 400,000 |",
        "Speed against batch: Torch at 64: no memory",
        "| int8 | 1.9950 | 5,000 |",
        "| step loop, 64 texts | 1 | 500,000 | 2 | 4 | 1 of 2 | 1.5 |",
        "66.0 MiB after the first thousand characters, 66.0 MiB after 999,000; peak 67.0 MiB",
    ):
        assert expected in text


def test_every_file_is_written_and_the_pictures_repeat(report: Report, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    names = suite.write(report, tmp_path)
    assert names == [
        "report.json",
        "report.html",
        "report.md",
        "speed.svg",
        "speed.png",
        "sweep_batch.svg",
        "sweep_precision.svg",
    ]
    before = [(tmp_path / name).read_bytes() for name in names]
    assert before[4].startswith(b"\x89PNG")
    assert all(b"<svg" in before[place] for place in (3, 5, 6))
    suite.write(report, tmp_path)
    assert [(tmp_path / name).read_bytes() for name in names] == before


def test_a_report_of_nothing_but_reasons_is_written(report: Report, tmp_path: Path) -> None:
    skipped = tuple(replace(each, rates=(), skipped="why") for each in report.cases)
    names = suite.write(replace(report, cases=skipped, sweeps=()), tmp_path)
    assert names == ["report.json", "report.html", "report.md"]
    assert "speed.svg" not in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert (
        json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["format"]
        == reports.FORMAT
    )


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
