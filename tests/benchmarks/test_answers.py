"""What is fastest for each job, and what is said of it."""

from dataclasses import replace

import pytest

from charlm.benchmarks.report import answers, prose
from charlm.benchmarks.report.report import Report
from charlm.benchmarks.report.results import Spread


def test_each_job_has_its_fastest_exact_way_and_a_faster_rounded_one(report: Report) -> None:
    found = {answer.job: answer for answer in answers.find(report)}
    assert list(found) == ["one text, CPU", "one text, CPU, int8", "many texts, CPU"]
    exact, rounded, many = found.values()
    assert (exact.case.name, exact.use) == ("charlm_generate", "charlm-gen")
    assert exact.notebook == Spread(5500.0, 4400.0, 6000.0)
    assert exact.loss is None
    assert rounded.case.name == "charlm_int8"
    assert rounded.loss == pytest.approx(0.005)
    assert (exact.rival, rounded.rival) == (None, None)
    assert many.rival is not None
    assert many.rival.name == "litert_batch"


def test_a_slower_precision_is_no_answer(report: Report) -> None:
    slow = [
        replace(case, rates=(1.0, 1.0, 1.0)) if case.precision == "int8" else case
        for case in report.cases
    ]
    found = [answer.job for answer in answers.find(replace(report, cases=tuple(slow)))]
    assert found == ["one text, CPU", "many texts, CPU"]


def test_what_nobody_can_ask_for_is_no_answer_where_something_can_be(report: Report) -> None:
    changed = [
        replace(case, use="", rates=(1e6, 1e6, 1e6)) if case.name == "charlm_step" else case
        for case in report.cases
    ]
    found = answers.find(replace(report, cases=tuple(changed)))
    assert found[0].case.name == "charlm_generate"
    plain = [replace(case, use="") for case in changed]
    found = answers.find(replace(report, cases=tuple(plain)))
    assert (found[0].case.name, found[0].use) == ("charlm_step", "charlm")


def test_the_gpu_answers_apart(report: Report) -> None:
    fast = replace(report.cases[3], name="charlm_cuda", rates=(1e6, 1e6, 1e6), cuda=True)
    found = {
        answer.job: answer for answer in answers.find(replace(report, cases=(*report.cases, fast)))
    }
    assert found["one text, CPU"].case.name == "charlm_generate"
    assert found["one text, GPU"].case.name == "charlm_cuda"


def test_what_beats_charlm_is_said(report: Report) -> None:
    (said,) = prose.rivals(report)
    assert said == "many texts, CPU: LiteRT, 64 texts was 1.34 times as fast in this run."


def test_the_page_begins_with_a_warning_only_where_many_figures_are_unstable(
    report: Report,
) -> None:
    assert "4 of 11 figures are unstable" in prose.warning(report)
    steady = replace(report, processes=(), cases=report.cases[2:5])
    assert prose.warning(steady) == ""
