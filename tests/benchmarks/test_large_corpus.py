"""The program that trains on gigabytes: its text, its looks at a process, its report."""

import os
import re
from pathlib import Path

import pytest

from charlm.benchmarks.large_corpus import __main__ as command
from charlm.benchmarks.large_corpus import page, text, watch
from charlm.benchmarks.large_corpus.watch import Sample, Watched
from charlm.benchmarks.machine import Machine
from charlm.data import console
from charlm.data.corpus import SAMPLE
from charlm.data.errors import TrainingError

MIB = 1 << 20
HERE = Machine("a processor", 2, None, "a system", None, dict.fromkeys(page.SHOWN, "1.0"))


@pytest.mark.parametrize("size", [1, 1000, 300_000])
def test_the_text_has_its_size_and_ends_with_a_paragraph(size: int, tmp_path: Path) -> None:
    text.write(tmp_path / "text", size)
    text.write(tmp_path / "again", size)
    written = (tmp_path / "text").read_bytes()
    assert size <= len(written) < size + max(map(len, SAMPLE.read_bytes().split(b"\n"))) + 1
    assert written.endswith(b"\n")
    assert written == (tmp_path / "again").read_bytes()
    assert set(written.splitlines()) <= set(SAMPLE.read_bytes().splitlines())


def samples(*own: int, training: int) -> list[Sample]:
    """A look every five seconds, in MiB; training from number `training` on."""
    return [Sample(5.0 * n, mib * MIB, 3 * MIB, n >= training) for n, mib in enumerate(own)]


def test_the_first_ten_seconds_of_training_are_left_out() -> None:
    watched = Watched(samples(1, 2, 50, 90, 100, 101, 103, training=2), "")
    assert [sample.anonymous // MIB for sample in page.steady(watched)] == [101, 103]


def test_the_report() -> None:
    runs = {
        20_000_000: Watched(samples(1, 2, 50, 90, 100, 101, 103, training=2), "said\n"),
        2_000_000_000: Watched(samples(1, 80, 50, 90, 100, 104, 110, 106, training=2), "more\n"),
    }
    report = page.as_markdown(runs, "the command", HERE)
    assert "| 20 | 102.0 | 2.0 | 2.0 | 3 | 10 | 20 |" in report
    assert "| 2,000 | 106.0 | 6.0 | 80.0 | 3 | 10 | 25 |" in report
    assert "| 10 | training | 50.0 | 3 |" in report
    assert "```\nmore\n```" in report
    assert re.search(r"`the command` on a processor, a system; charlm 1\.0, ", report)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc")
def test_a_process_is_looked_at() -> None:
    found = watch._look(os.getpid())
    assert found is not None
    assert min(found) > MIB
    assert watch._look(2**22 + 1) is None, "a process that is not there"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--megabytes", "20"], "--megabytes is above 20, the small text's"),
        (["--megabytes", "0"], "--megabytes is above 20"),
        (["--minutes", "0.1"], "--minutes is at least 0.5, not 0.1"),
        (["--minutes", "nan"], "--minutes is at least 0.5"),
    ],
)
def test_what_could_not_be_compared_is_refused_at_once(
    options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert console.exit_code(command.app, "large_corpus", options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc")
def test_a_mistake_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "EVERY", 0.01)
    with pytest.raises(TrainingError, match="charlm-train ended with 2: charlm-train: No such opt"):
        watch.watch(["--nonsense"], tmp_path / "log")
