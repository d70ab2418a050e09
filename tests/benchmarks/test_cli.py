"""`charlm-bench` from the outside, and a whole small run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from charlm.benchmarks import cli
from charlm.benchmarks.report import page
from charlm.benchmarks.report import report as reports
from charlm.benchmarks.report.report import BenchReport
from charlm.data.system import console
from charlm.export.contract import native as contract_native


def bench(*arguments: object) -> int:
    return console.exit_code(cli.app, "charlm-bench", [str(given) for given in arguments])


def test_table_prints_the_table_of_a_report(
    report: BenchReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    path.write_text(report.to_json(), encoding="utf-8")
    assert bench("--table", path) == 0
    assert capsys.readouterr().out == page.figures(report, every=False) + "\n"


def test_a_table_of_something_else_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.json"
    path.write_text("{}", encoding="utf-8")
    assert bench("--table", path) == 2
    assert "other.json: not a report of charlm-bench" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "nothing"), "--only is one of keras_window"),
        (("--provider", "tpu"), "--provider is cpu or cuda, not 'tpu'"),
        (("--rounds", "0"), "at least 1"),
        (("--model", "absent.onnx"), "no model absent.onnx: name a model file"),
        (("--text", "absent.txt"), "--text absent.txt: no such file"),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("--quick", "--out", tmp_path, *arguments) == 2
    shown = capsys.readouterr().err.strip().splitlines()
    assert len(shown) == 1
    assert said in shown[0]


def test_render_makes_the_page_of_a_report_again(
    report: BenchReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "report.json"
    path.write_text(report.to_json(), encoding="utf-8")
    assert bench("--render", path, "--out", tmp_path / "again") == 0
    assert reports.load(tmp_path / "again" / "report.json") == report
    page = (tmp_path / "again" / "report.html").read_bytes()
    assert bench("--render", path) == 0
    assert (tmp_path / "report.html").read_bytes() == page
    assert "report.html" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--render", "--table"])
def test_a_report_that_makes_no_sense_is_one_line(
    option: str, report: BenchReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    values = json.loads(report.to_json()) | {"rounds": "many"}
    for content in (json.dumps(values).encode(), report.to_json().encode("utf-16"), b"[]", b""):
        path.write_bytes(content)
        assert bench(option, path) == 2
        assert capsys.readouterr().err.count("\n") == 1
    path.unlink()
    assert bench(option, path) == 2
    assert f"can't read {path}: no such file or directory" in capsys.readouterr().err


def test_what_does_not_fit_together_is_one_line(
    report: BenchReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    path.write_text(report.to_json(), encoding="utf-8")
    other = replace(report.cases[0], rates=(1.0,))
    path.write_text(replace(report, cases=(other, *report.cases[1:])).to_json(), encoding="utf-8")
    assert bench("--table", path) == 2
    assert "its fields do not fit together" in capsys.readouterr().err


def test_cuda_where_there_is_none_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(contract_native, "gpu", lambda: (0, "no NVIDIA driver"))
    assert bench("--quick", "--provider", "cuda") == 2
    assert "--provider cuda can't run here" in capsys.readouterr().err


def test_a_small_run_writes_its_report_and_prints_the_table(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "report"
    names = ("charlm_step", "charlm_stream_cuda_fp16", "torch_step", "processes")
    chosen = [word for name in names for word in ("--only", name)]
    assert bench("--quick", "--rounds", 1, "--model", model_file, "--out", out, *chosen) == 0
    shown = capsys.readouterr()
    found = reports.load(out / "report.json")
    assert shown.out == page.figures(found) + "\n"
    for title in ("Every procedure", "Quality", "Whole processes"):
        assert title in shown.out, "what was asked for is shown"
    assert "round 1 of 1" in shown.err
    assert [case.name for case in found.cases] == [
        "torch_step",
        "charlm_step",
        "charlm_stream_cuda_fp16",
    ]
    assert [len(case.rates) for case in found.cases[:2]] == [1, 1]
    assert {each.precision for each in found.quality} == {"float32", "fp16"}
    gpu = found.cases[2]
    assert gpu.rates or (gpu.skipped or "").startswith("--provider cuda can't run here")
    for file in out.iterdir():
        text = file.read_bytes()
        assert str(tmp_path).encode() not in text
        assert str(Path.home()).encode() + b"/" not in text
