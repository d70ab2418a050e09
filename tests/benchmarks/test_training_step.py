"""The training step's measurement: every part is timed, and operations are counted right."""

from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from charlm.benchmarks.training import __main__ as command
from charlm.benchmarks.training.measure import StepTime
from charlm.benchmarks.training.parts import PREFIXES, Size, prefixes
from charlm.data import console
from charlm.train.muon import GATES, orthogonalise


def test_muons_operations_are_those_that_torch_counts() -> None:
    size = Size(hidden=24, batch=2, window=8)
    with FlopCounterMode(display=False) as counted:
        orthogonalise(torch.randn(GATES, 24, 24))
    assert counted.get_total_flops() == size.muon_products()


def test_the_models_operations_are_those_of_its_matrices_three_times() -> None:
    size = Size(hidden=24, batch=2, window=8, vocabulary=10)
    hidden, weights = torch.randn(16, 24), torch.randn(4 * 24 + 10, 24, requires_grad=True)
    hidden.requires_grad_()
    with FlopCounterMode(display=False) as counted:
        torch.autograd.backward((hidden @ weights.t()).sum())
    assert counted.get_total_flops() == size.model_products()


def test_each_prefix_does_what_its_name_says() -> None:
    runs = prefixes(Size(hidden=8, batch=2, window=4, vocabulary=5))
    assert tuple(runs) == PREFIXES
    for run in runs.values():
        run()


def test_shares_of_the_peak() -> None:
    size = Size(hidden=10, batch=1, window=1, vocabulary=10)  # 3,000 and 120,000 operations
    time = StepTime(size, 1, {"forward": 0.25, "backward": 0.75}, 0.0, 1e9)
    assert time.step() == 1.0
    assert time.of_peak_by_the_model() == 0.003
    assert time.of_peak() == 0.123


def test_the_command_writes_a_row_for_each_size_and_thread_count(tmp_path: Path) -> None:
    out = tmp_path / "step.md"
    given = [str(out), "--hidden", "8", "--batch", "2", "--batch", "3", "--window", "4"]
    before = torch.get_num_threads()
    try:
        assert (
            console.exit_code(command.app, "training", [*given, "--threads", "1", "--rounds", "2"])
            == 0
        )
    finally:
        torch.set_num_threads(before)
    rows = [line for line in out.read_text().splitlines() if line.startswith("| 8 units")]
    assert [row.split("|")[1].strip() for row in rows] == [
        f"8 units, {batch} × 4, 62 characters" for batch in (2, 3)
    ]
