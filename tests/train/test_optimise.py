"""What moves which parameters, and which of them decay."""

from dataclasses import replace

import pytest
import torch
from torch.optim import Adam

from charlm.train.config import ModelConfig, TrainingConfig
from charlm.train.model import CharLSTM
from charlm.train.optim.optimise import make_optimiser

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


def test_the_notebooks_recipe_has_adam_alone() -> None:
    optimiser = make_optimiser(CharLSTM(ModelConfig(5, hidden=4)), TrainingConfig("notebook"))
    (part,) = optimiser.parts
    assert isinstance(part, Adam)
