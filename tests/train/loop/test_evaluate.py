"""Bits per character with the state carried."""

import itertools
import math

import numpy as np
import pytest
import torch

from charlm.train.config import ModelConfig
from charlm.train.loop import evaluate
from charlm.train.model import CharLSTM

IDS = np.random.default_rng(0).integers(11, size=100, dtype=np.uint8)


@pytest.fixture
def model() -> CharLSTM:
    model = CharLSTM(ModelConfig(vocabulary=11, hidden=8, layers=2, dropout=0.5))
    model.initialise(torch.Generator().manual_seed(3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)  # a state that matters
    return model


@torch.no_grad()
def one_by_one(model: CharLSTM) -> float:
    state, bits = model.zero_state(batch=1), 0.0
    for token, target in itertools.pairwise(IDS):
        logits, state = model.step(torch.tensor([int(token)]), state)
        bits -= logits[0].double().log_softmax(dim=0)[int(target)].item() / math.log(2)
    return bits / (len(IDS) - 1)


@pytest.mark.parametrize("chunk", [1, 7, 33, 98, 99, 100, 8192])
def test_equals_a_character_at_a_time(model: CharLSTM, chunk: int) -> None:
    found = evaluate.bits_per_character(model, IDS, chunk)
    assert found == pytest.approx(one_by_one(model), abs=1e-6)


@torch.no_grad()
def test_many_distinct_characters_are_read_in_shorter_pieces() -> None:
    many = CharLSTM(ModelConfig(vocabulary=2**20, hidden=1))
    read: list[int] = []
    many.head.register_forward_pre_hook(lambda head, given: read.append(len(given[0])))
    evaluate.bits_per_character(many, IDS)
    assert read == [64, 35]


def test_a_model_that_knows_nothing_needs_log2_of_the_vocabulary(model: CharLSTM) -> None:
    for parameter in model.head.parameters():
        torch.nn.init.zeros_(parameter)
    assert evaluate.bits_per_character(model, IDS) == pytest.approx(math.log2(11))


@pytest.mark.parametrize("training", [True, False])
def test_leaves_mode_and_random_state_alone(model: CharLSTM, training: bool) -> None:
    model.train(training)
    before = torch.get_rng_state()
    evaluate.bits_per_character(model, IDS)
    assert model.training is training
    assert torch.equal(torch.get_rng_state(), before)


def test_of_a_long_split_even_stretches_are_judged() -> None:
    found = evaluate.judged(np.arange(100), most=30, stretches=3)
    expected = [*range(10), *range(45, 55), *range(90, 100)]
    assert found.tolist() == expected, "from the beginning, the middle and the end"
    assert evaluate.judged(IDS) is IDS, "a short one is judged whole"
