"""Whole processes: what is read from outside, how they take turns, and what a failure leaves."""

from pathlib import Path

import pytest

from charlm.benchmarks import suite
from charlm.benchmarks.harness import processes, start
from charlm.benchmarks.harness.processes import Process, python, run_once
from charlm.benchmarks.harness.settings import CaseFailedError, CaseSettings
from charlm.benchmarks.plan import BenchPlan, quick
from charlm.data.system.cores import usable_cores


def test_a_process_is_seen_from_its_first_byte_to_its_end() -> None:
    once = run_once(python("print('x' * 200_000)"))
    assert len(once.output.strip()) == 200_000
    assert once.first_byte is not None
    assert 0 < once.first_byte <= once.seconds
    assert run_once(python("pass")).first_byte is None


def test_the_peak_holds_what_the_process_held() -> None:
    own = start.own_peak()
    if own is None:
        pytest.skip("this system does not tell a process's memory")
    assert own > 5 << 20
    size = own + (50 << 20)  # a smaller child's peak is hidden by its parent's
    once = run_once(python(f"x = b'1' * {size}"))
    assert once.peak_bytes is not None
    assert once.peak_bytes > size


def test_a_failing_process_leaves_its_last_line() -> None:
    with pytest.raises(CaseFailedError, match="code 1: ValueError: no luck"):
        run_once(python("raise ValueError('no luck')"))


def test_processes_take_turns_after_one_that_does_not_count(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def writes(letter: str, rounds: int | None = None) -> Process:
        return Process(
            letter, letter, python(f"open({str(log)!r}, 'a').write('{letter}')"), None, rounds
        )

    broken = Process("c", "c", python("import sys; sys.exit('no')"))
    found = processes.measure([writes("a"), writes("b", rounds=1), broken], 3, lambda line: None)
    assert log.read_text(encoding="utf-8") == "ab" + "ab" + "a" + "a"
    assert [len(each.seconds) for each in found] == [3, 1, 0]
    assert found[2].skipped == "its process ended with code 1: no"


def test_the_first_characters_process_writes_one(case_settings: CaseSettings) -> None:
    found = [
        run_once(process.command)
        for process in suite.whole_processes(
            quick(BenchPlan(Path(case_settings.model))), case_settings
        )
        if process.case in ("charlm_stream", "torch_step")
    ]
    assert [len(once.output.strip()) for once in found] == [1, 1]


def test_a_case_that_can_not_start_is_told_from_its_first_character(tmp_path: Path) -> None:
    settings = CaseSettings(str(tmp_path / "absent.onnx"), str(tmp_path))
    command = processes.first_character("charlm.benchmarks.cases.ours:step", settings)
    with pytest.raises(CaseFailedError, match=r"code 1: .*absent\.onnx: no such file"):
        run_once(command)


def test_a_process_has_its_threads_and_cores_and_its_parent_keeps_its_own() -> None:
    code = (
        "import os; from charlm.data.system.cores import usable_cores\n"
        "print(os.environ['OMP_NUM_THREADS'], usable_cores())"
    )
    before = usable_cores()
    threads, cores = run_once(python(code), cores=1).output.split()
    assert threads == b"1"
    assert int(cores) == (1 if start.can_pin() else before)
    assert usable_cores() == before
    free = "import os; print(os.environ.get('OMP_NUM_THREADS'))"
    assert run_once(python(free), cores=0).output.strip() == b"None"
