"""What moves which parameters, how far, and when: Adam, Muon, and the course of their rates."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.optim import SGD, Adam

from charlm.train.config import ModelConfig, TrainingConfig
from charlm.train.model import CharLSTM
from charlm.train.optim.optimisers import (
    MOMENTUM,
    START,
    WARM_UP,
    Muon,
    Optimisers,
    make_optimiser,
    orthogonalise,
    share_of_peak,
)

QUIET = TrainingConfig(lr=0.5, muon_lr=0.25)


def moved(config: TrainingConfig, *, gradient: float) -> tuple[CharLSTM, CharLSTM]:
    """A model before and after a step on a gradient that is the same everywhere."""
    made = [CharLSTM(ModelConfig(5, hidden=4, layers=2)) for _ in range(2)]
    for each in made:
        each.initialise(torch.Generator().manual_seed(3))
        for parameter in each.parameters():
            parameter.data.add_(0.1)
            parameter.grad = torch.full_like(parameter, gradient)
    make_optimiser(made[1], config).step()
    return made[0], made[1]


@pytest.mark.parametrize("optimiser", ["muon", "adam"])
def test_matrices_decay_and_biases_do_not(optimiser: str) -> None:
    config = replace(QUIET, optimiser=optimiser, weight_decay=0.2)
    before, after = moved(config, gradient=0.0)
    between = {id(p) for p in after.hidden_to_hidden()} if optimiser == "muon" else set()
    for old, new in zip(before.parameters(), after.parameters(), strict=True):
        rate = config.muon_lr if id(new) in between else config.lr
        kept = 1 - rate * config.weight_decay if old.dim() > 1 else 1.0
        torch.testing.assert_close(new, old * kept)


def test_without_decay_adam_is_adam() -> None:
    """To the bit: a run that does not ask for decay learns what it always did."""
    plain, ours = moved(replace(QUIET, optimiser="adam"), gradient=0.3)
    Adam(plain.parameters(), lr=QUIET.lr, fused=True).step()
    for expected, found in zip(plain.parameters(), ours.parameters(), strict=True):
        assert torch.equal(expected, found)


def test_the_notebooks_recipe_has_keras_adam_alone() -> None:
    optimiser = make_optimiser(CharLSTM(ModelConfig(5, hidden=4)), TrainingConfig("notebook"))
    (part,) = optimiser.parts
    assert isinstance(part, Adam)
    assert part.param_groups[0]["eps"] == 1e-7


@pytest.mark.parametrize("shape", [(8, 8), (12, 5), (5, 12)])
def test_singular_vectors_stay_and_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))
    u, _, vt = np.linalg.svd(matrix[0].numpy(), full_matrices=False)
    values = u.T @ orthogonalise(matrix)[0].numpy() @ vt.T
    assert np.allclose(values - np.diag(np.diag(values)), 0, atol=1e-4)
    assert 0.6 < np.diag(values).min() <= np.diag(values).max() < 1.3


def test_each_gate_is_orthogonal_by_itself() -> None:
    matrix = torch.nn.Parameter(torch.zeros(16, 4))
    gradient = torch.randn(16, 4, generator=torch.Generator().manual_seed(2))
    gradient[:4] *= 1000  # one gate's gradient does not drown the others'
    matrix.grad = gradient.clone()
    Muon([matrix], lr=0.5).step()
    assert torch.equal(matrix.grad, gradient)
    for gate, its_gradient in zip(matrix.detach().chunk(4), gradient.chunk(4), strict=True):
        expected = -0.5 * orthogonalise(its_gradient[None])[0]
        assert torch.allclose(gate, expected, atol=1e-4)


def test_muon_has_momentum_and_decay() -> None:
    matrix = torch.nn.Parameter(torch.ones(8, 2))
    optimiser = Muon([matrix], lr=0.1, weight_decay=0.5)
    for _ in range(2):
        matrix.grad = torch.eye(2).repeat(4, 1)
        optimiser.step()
    kept = 1 - MOMENTUM**2
    assert torch.allclose(optimiser.state[matrix]["momentum"], kept * torch.eye(2).repeat(4, 1))
    assert torch.allclose(matrix[0, 1], torch.tensor((1 - 0.1 * 0.5) ** 2))


def test_a_gradient_of_zeros_moves_nothing() -> None:
    matrix = torch.nn.Parameter(torch.ones(8, 2))
    matrix.grad = torch.zeros(8, 2)
    Muon([matrix], lr=0.1).step()
    assert torch.equal(matrix, torch.ones(8, 2))


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
    assert share_of_peak(0, 1) > 0, "a run of one step has a rate"


@pytest.mark.parametrize("kept_as", [float, torch.Tensor])
def test_every_group_follows_in_proportion_to_its_own_peak(kept_as: type) -> None:
    fast, slow = (SGD([torch.zeros(1, requires_grad=True)], lr=lr) for lr in (1.0, 0.1))
    both = Optimisers(fast, slow)
    if kept_as is torch.Tensor:
        both.rates_on("cpu")
    both.set_share(0.25)
    rates = [group["lr"] for group in both.param_groups]
    assert all(isinstance(rate, kept_as) for rate in rates)
    assert [float(rate) for rate in rates] == [0.25, pytest.approx(0.025)]
