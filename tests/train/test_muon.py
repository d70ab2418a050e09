"""Muon: orthogonal updates, a gate at a time, that go where the gradient does not."""

import numpy as np
import pytest
import torch

from charlm.train.optim.muon import MOMENTUM, Muon, orthogonalise


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


def test_momentum_and_decay() -> None:
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
