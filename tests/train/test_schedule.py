"""The learning rate's course."""

import pytest
import torch
from torch.optim import SGD

from charlm.train.optim.optimise import Optimisers
from charlm.train.optim.schedule import START, WARM_UP, Schedule, hold_at_start, share_of_peak


def optimisers() -> Optimisers:
    fast, slow = (SGD([torch.zeros(1, requires_grad=True)], lr=lr) for lr in (1.0, 0.1))
    return Optimisers(fast, slow)


def test_the_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    total = 1000
    shares = [share_of_peak(step, total) for step in range(total + 1)]
    top = round(WARM_UP * total)
    assert shares[0] == START
    assert shares[top] == 1.0
    assert shares[top:] == sorted(shares[top:], reverse=True)
    assert shares[: top + 1] == sorted(shares[: top + 1])
    assert shares[total - 1] == pytest.approx(1 / (total - top))
    assert shares[total] == 0.0


def test_a_run_of_one_step_has_a_rate() -> None:
    assert share_of_peak(0, 1) > 0


def test_every_group_follows_in_proportion_to_its_own_peak() -> None:
    both = optimisers()
    schedule = Schedule(both, 100)
    for _ in range(30):
        schedule.step()
    fast, slow = (group["lr"] for group in both.param_groups)
    assert fast == pytest.approx(70 / 95)
    assert slow == pytest.approx(0.1 * fast)


def test_a_schedule_goes_on_from_its_state() -> None:
    first, second = Schedule(optimisers(), 100), Schedule(optimisers(), 7)
    for _ in range(30):
        first.step()
    second.load_state_dict(first.state_dict())
    for schedule in (first, second):
        schedule.step()
    ours, theirs = (s.optimisers.param_groups[0]["lr"] for s in (first, second))
    assert ours == theirs


def test_before_the_steps_are_counted_the_rate_is_low() -> None:
    both = optimisers()
    hold_at_start(both)
    assert [group["lr"] for group in both.param_groups] == [START, pytest.approx(0.1 * START)]
