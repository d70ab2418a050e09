"""Whole processes: what is read from outside, how they take turns, and what a failure leaves."""

from pathlib import Path

import pytest

from charlm.benchmarks import suite
from charlm.benchmarks.harness import pinning, processes
from charlm.benchmarks.harness.processes import Process, python
from charlm.benchmarks.harness.settings import CaseFailedError, CaseSettings
from charlm.data.system.cores import usable_cores


def test_a_process_is_seen_from_its_first_byte_to_its_end() -> None:
    once = processes.run_once(Process("p", "p", python("print('x' * 200_000)")))
    assert once.first_byte is not None
    assert 0 < once.first_byte <= once.seconds


def test_a_process_without_output_has_no_first_byte() -> None:
    assert processes.run_once(Process("p", "p", python("pass"))).first_byte is None


def test_the_peak_holds_what_the_process_held() -> None:
    own = processes.own_peak()
    if own is None:
        pytest.skip("this system does not tell a process's memory")
    size = own + (50 << 20)  # a smaller child's peak is hidden by its parent's
    once = processes.run_once(Process("p", "p", python(f"x = b'1' * {size}")))
    assert once.peak_bytes is not None
    assert once.peak_bytes > size


def test_a_failing_process_leaves_its_last_line() -> None:
    with pytest.raises(CaseFailedError, match="code 1: ValueError: no luck"):
        processes.run_once(Process("p", "p", python("raise ValueError('no luck')")))


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


def test_memory_of_a_long_text_is_watched_to_its_end(case_settings: CaseSettings) -> None:
    found = processes.flatness(case_settings, 30_000)
    if found.skipped == "this system does not tell a process's memory":
        pytest.skip(found.skipped)
    assert found.skipped is None
    assert found.early_bytes is not None
    assert found.early_bytes > 1 << 20
    assert found.late_characters > 1000


def test_the_first_characters_process_writes_one(case_settings: CaseSettings) -> None:
    found = [
        processes.run_once(process)
        for process in suite.whole_processes(case_settings, cuda=False)
        if process.case in ("charlm_stream", "torch_step")
    ]
    assert len(found) == 2
    assert all(once.first_byte is not None for once in found)


def test_a_case_that_can_not_start_is_told_from_its_first_character(tmp_path: Path) -> None:
    settings = CaseSettings(str(tmp_path / "absent.onnx"), str(tmp_path))
    command = processes.first_character("charlm.benchmarks.cases.charlm_step", settings)
    with pytest.raises(CaseFailedError, match=r"absent\.onnx: no such file"):
        processes.run_once(Process("p", "p", command))


def test_threads_are_set_for_every_library() -> None:
    assert pinning.environment(1)["OMP_NUM_THREADS"] == "1"
    assert "OPENBLAS_NUM_THREADS" not in pinning.environment(0)


def test_pinning_ends_with_the_block() -> None:
    before = usable_cores()
    with pinning.pinned(1):
        assert usable_cores() == (1 if pinning.can_pin() else before)
    assert usable_cores() == before


def test_own_peak_is_at_least_an_interpreters() -> None:
    peak = processes.own_peak()
    assert peak is None or peak > 5 << 20
