"""The harness, with counted work in place of time: turns, warm-up, failures, the real protocol."""

import os
from pathlib import Path

import pytest

from charlm.benchmarks.harness import timing
from charlm.benchmarks.harness.settings import CaseFailedError, CaseSettings

SETTINGS = CaseSettings("model.onnx", "artifacts")
FAKE = """
from pathlib import Path

def case(settings):
    print("chatter on stdout")
    if settings.model == "absent":
        raise ModuleNotFoundError("No module named 'absent'")
    log = Path(settings.artifacts)
    def run(units):
        with log.open("a") as file:
            file.write(settings.model)
        if settings.model == "dies" and len(log.read_text()) > 12:
            raise SystemExit("out of luck")
        return "x" * units
    return run
"""


class Counted(timing.Worker):
    """A case whose every unit takes a hundredth of a second, by its own account."""

    def __init__(self, name: str, turns: list[str], fails_at: int = -1, least: int = 1) -> None:
        super().__init__(name, "", SETTINGS, least)
        self.turns = turns
        self.fails_at = fails_at
        self.asked: list[int] = []
        self.ended = False

    def start(self) -> None:
        if self.fails_at == 0:
            raise CaseFailedError("not here")

    def trial(self, units: int) -> float:
        self.asked.append(units)
        self.turns.append(self.name)
        if len(self.asked) == self.fails_at:
            raise CaseFailedError("worn out")
        return units / 100

    def end(self) -> int | None:
        self.ended = True
        return 7


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log that the module `fake_case` writes one letter to for each trial."""
    (tmp_path / "fake_case.py").write_text(FAKE, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(timing, "calibrate", lambda case, seconds: 3)
    return tmp_path / "log"


def worker(name: str, log: Path) -> timing.Worker:
    return timing.Worker(name, "fake_case:case", CaseSettings(name, str(log)))


def silent(line: str) -> None:
    del line


def test_calibration_grows_to_the_time_asked_for() -> None:
    case = Counted("a", [])
    assert timing.calibrate(case, 1.0) == 100
    assert case.asked == [1, 1, 2, 4, 8, 16, 32]


@pytest.mark.parametrize("least", [1, 50])
def test_a_slow_case_does_its_least_a_trial(least: int) -> None:
    assert timing.calibrate(Counted("a", [], least=least), 0.001) == least
    assert timing.calibrate(Counted("a", [], least=least), 1.0) == 100


def test_cases_take_turns() -> None:
    turns: list[str] = []
    cases = [Counted(name, turns) for name in "abc"]
    found = timing.measure(cases, 3, 0.02, silent)
    assert "".join(turns) == "aabbcc" + "abc" * 3
    assert [each.rates for each in found] == [(100.0,) * 3] * 3
    assert [(each.units, each.peak_bytes) for each in found] == [(2, 7)] * 3


def test_a_failing_case_is_skipped_with_its_reason_and_the_others_go_on() -> None:
    turns: list[str] = []
    said: list[str] = []
    cases = [Counted("a", turns), Counted("b", turns, fails_at=4), Counted("c", turns, fails_at=0)]
    found = timing.measure(cases, 3, 0.02, said.append)
    assert "".join(turns) == "aabb" + "ab" + "ab" + "a"
    assert found[1] == timing.Measured(skipped="worn out")
    assert found[2] == timing.Measured(skipped="not here")
    assert len(found[0].rates) == 3
    assert "b skipped: worn out" in said
    assert all(case.ended for case in cases)


def test_workers_take_turns_over_the_real_protocol(fake: Path) -> None:
    found = timing.measure([worker("a", fake), worker("b", fake)], 3, 0.1, silent)
    assert fake.read_text(encoding="utf-8") == "ab" * 3
    for each in found:
        assert each.skipped is None
        assert each.units == 3
        assert len(each.rates) == 3
        assert each.peak_bytes is None or each.peak_bytes > 1 << 20


def test_a_worker_that_can_not_prepare_says_why(fake: Path) -> None:
    found = timing.measure([worker("absent", fake), worker("b", fake)], 2, 0.1, silent)
    assert found[0].skipped == "ModuleNotFoundError: No module named 'absent'"
    assert fake.read_text(encoding="utf-8") == "bb"


def test_a_worker_that_dies_leaves_its_last_words(fake: Path) -> None:
    found = timing.measure([worker("dies", fake)], 9, 0.1, silent)
    assert found[0].skipped == "its process ended with code 1: out of luck"


def test_a_worker_that_was_not_started_ends_quietly() -> None:
    assert timing.Worker("a", "fake_case", SETTINGS).end() is None
