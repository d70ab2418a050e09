"""The time to a quality: real runs on the CPU, too small to reach any."""

from pathlib import Path

import pytest

from charlm.benchmarks import time_to_bits
from charlm.benchmarks.time_to_bits import SIZES, WAYS, Size, Trial, Trials, Way, measure, render
from charlm.data.system.errors import SettingsError
from charlm.train.config import CHOICES

TINY = Size(hidden=8, batch_size=4, epochs=1, seq_len=32)


def test_ways_are_timed_one_is_chosen_and_sizes_are_run_in_it(tiny_text: Path) -> None:
    kept: list[tuple[int, int]] = []

    def keep(report: Trials) -> None:
        kept.append((len(report.ways), len(report.sizes)))

    ways = [Way("graph"), Way("eager")]  # a CPU has no graphs: that way fails
    report = measure(tiny_text, "cpu", 2.1, ways, [TINY], keep, short=TINY)
    graph, eager = report.ways
    assert graph.failed is not None
    assert "--step graph is for a GPU" in graph.failed
    assert eager.failed is None
    (run,) = report.sizes
    assert run.way == Way("eager")
    assert run.bits is not None
    assert 3 < run.bits < 8
    assert run.wall_seconds is not None
    assert run.training_seconds is not None
    assert run.wall_seconds > run.training_seconds > 0
    assert kept == [(1, 0), (2, 0), (2, 1)]
    page = render(report)
    assert "2.1 bits per character were not reached." in page
    assert "| graph | float32 | 8 | 4 | 1 | charlm-train: --step graph" in page
    assert f"{run.bits:.3f} |" in page


def test_the_soonest_that_reaches_the_target_is_named(
    tiny_text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = iter([(40.0, 2.0), (25.0, 2.09), (9.0, 2.3)])

    def trial(text: Path, device: str, way: Way, size: Size) -> Trial:
        wall, bits = next(ends)
        return Trial(way, size, wall, wall - 1, 1e6, bits)

    monkeypatch.setattr(time_to_bits, "_trial", trial)
    report = measure(tiny_text, "cpu", 2.1, [Way()], [TINY] * 3, render)
    assert report.ways == [], "of one way nothing is timed"
    assert "2.1 bits per character were reached in 25.0 s." in render(report)


def test_where_no_way_works(tiny_text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(text: Path, device: str, way: Way, size: Size) -> Trial:
        return Trial(way, size, failed="no GPU")

    monkeypatch.setattr(time_to_bits, "_trial", fail)
    with pytest.raises(SettingsError, match="no way of running a step works here: no GPU"):
        measure(tiny_text, "cuda", 2.1, WAYS["cuda"], SIZES["cuda"], render)


def test_a_fast_way_that_learns_worse_is_not_chosen() -> None:
    def trial(step: str, speed: float, bits: float) -> Trial:
        return Trial(Way(step), TINY, 9.0, 8.0, speed, bits)

    trials = [trial("eager", 1e5, 2.31), trial("compiled", 2e5, 2.33), trial("graph", 9e5, 2.50)]
    assert time_to_bits._fastest(trials) == Way("compiled")
    assert time_to_bits._fastest(trials[2:]) == Way("graph")


def test_every_way_is_one_of_the_commands() -> None:
    assert {way.step for way in WAYS["cuda"]} == set(CHOICES["step"])
    for way in WAYS["cuda"]:
        options = way.options()
        assert ("--tf32" in options) == (way.precision in ("tf32", "bf16"))
        assert ("--autocast" in options) == (way.precision == "bf16")
    assert "bf16" in CHOICES["autocast"]
