"""The model: windows against single steps, against plain Torch, and how it begins."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from charlm.train.config import ModelConfig
from charlm.train.model import CharLSTM, State

MANY = 80  # characters, more than 16 units have gates
LETTERS = "abcdefghijklmnopqrstuvwxyz "
GOLDEN = "lvfffvssssssssssslvvvvvvvfffffkkkkkkkkkkkkkkkpppppfffffffkkk"


def make(layers: int, *, dropout: float = 0.0, seed: int = 7, vocabulary: int = 27) -> CharLSTM:
    model = CharLSTM(ModelConfig(vocabulary, hidden=16, layers=layers, dropout=dropout))
    generator = torch.Generator().manual_seed(seed)
    model.initialise(generator)
    with torch.no_grad():  # every bias its own value, or swapped biases would not show
        for name, parameter in model.named_parameters():
            if "bias" in name:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def random_start(layers: int, *, time: int = 50, batch: int = 3) -> tuple[Tensor, State]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(27, (time, batch), generator=generator)
    h, c = (torch.randn(layers, batch, 16, generator=generator) for _ in range(2))
    return tokens, (h, c)


@pytest.mark.parametrize("layers", [1, 3])
@torch.no_grad()
def test_a_window_equals_its_steps(layers: int) -> None:
    model = make(layers)
    tokens, state = random_start(layers)
    hidden, after = model(tokens, state)
    by_window = model.head(hidden)
    for time, token in enumerate(tokens):
        logits, state = model.step(token, state)
        torch.testing.assert_close(logits, by_window[time], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state[0], after[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state[1], after[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("vocabulary", [27, MANY])
def test_weights_load_into_plain_torch(layers: int, vocabulary: int) -> None:
    """Past a certain vocabulary the input is indexed: outputs and gradients stay what they are."""
    model = make(layers, vocabulary=vocabulary)
    plain = nn.ModuleDict(
        {"lstm": nn.LSTM(vocabulary, 16, layers), "head": nn.Linear(16, vocabulary)}
    )
    plain.load_state_dict(model.state_dict())
    tokens, state = random_start(layers)
    tokens[7] = vocabulary - 1
    one_hot = torch.eye(vocabulary)[tokens]
    expected, (h, c) = plain["lstm"](one_hot, state)
    hidden, after = model(tokens, state)
    torch.testing.assert_close(model.head(hidden), plain["head"](expected))
    torch.testing.assert_close(after[0], h)
    torch.testing.assert_close(after[1], c)
    weights = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(2))
    torch.autograd.backward([hidden, expected], [weights, weights])
    for name, parameter in model.lstm.named_parameters():
        torch.testing.assert_close(parameter.grad, plain["lstm"].get_parameter(name).grad)


def test_nothing_as_wide_as_a_large_vocabulary_is_multiplied() -> None:
    """Of a thousand characters in place of two thousand, a window costs the same products."""
    tokens, (h, c) = random_start(1)
    counts = []
    for vocabulary in (1000, 2000):
        model = make(1, vocabulary=vocabulary).double()  # whose products are not fused, but counted
        with FlopCounterMode(display=False) as counter:
            model(tokens, (h.double(), c.double()))
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


@torch.no_grad()
def test_step_leaves_its_arguments_alone() -> None:
    model = make(2)
    tokens, (h, c) = random_start(2)
    before = h.clone(), c.clone(), tokens.clone()
    model.step(tokens[0], (h, c))
    assert torch.equal(h, before[0])
    assert torch.equal(c, before[1])
    assert torch.equal(tokens, before[2])


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("vocabulary", [27, MANY])
def test_dropout_acts_on_the_weights_between_units_in_training(
    layers: int, vocabulary: int
) -> None:
    tokens, state = random_start(layers)
    model = make(layers, dropout=0.5, vocabulary=vocabulary)
    calm = model(tokens, state)[0]
    torch.testing.assert_close(model(tokens, state)[0], calm)
    model.train()
    torch.manual_seed(0)
    noisy, again = model(tokens, state)[0], model(tokens, state)[0]
    assert not torch.allclose(noisy, calm)
    assert not torch.allclose(noisy, again), "the same weights were dropped"

    twin = make(layers, vocabulary=vocabulary)
    torch.manual_seed(0)
    for matrix in twin.hidden_to_hidden():
        matrix.copy_(nn.functional.dropout(matrix, 0.5))
    torch.testing.assert_close(twin(tokens, state)[0], noisy)


def test_dropped_weights_have_no_gradient() -> None:
    tokens, state = random_start(1)
    model = make(1, dropout=0.5).train()
    torch.autograd.backward(model(tokens, state)[0].sum())
    (matrix,) = model.hidden_to_hidden()
    assert matrix.grad is not None
    assert 0.4 < (matrix.grad == 0).float().mean() < 0.6


@torch.no_grad()
def test_output_dropout_acts_on_the_heads_weights_in_training() -> None:
    model = CharLSTM(ModelConfig(27, hidden=16, output_dropout=0.5)).eval()
    hidden = torch.randn(5, 3, 16, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model.logits(hidden), model.head(hidden))
    model.train()
    torch.manual_seed(0)
    noisy, again = model.logits(hidden), model.logits(hidden)
    assert not torch.allclose(noisy, again), "the same weights were dropped"
    torch.manual_seed(0)
    dropped = nn.functional.dropout(model.head.weight, 0.5)
    torch.testing.assert_close(noisy, hidden @ dropped.t() + model.head.bias)


@torch.no_grad()
def test_a_step_never_drops_anything() -> None:
    model = make(2, dropout=0.5)
    tokens, state = random_start(2)
    calm = model.step(tokens[0], state)[0]
    model.train()
    torch.testing.assert_close(model.step(tokens[0], state)[0], calm)


def test_initialise_depends_on_the_seed_only() -> None:
    first, again, other = make(2), make(2), make(2, seed=8)
    for name, weights in first.state_dict().items():
        assert torch.equal(weights, again.state_dict()[name])
        assert not torch.equal(weights, other.state_dict()[name])


def test_initialise_draws_as_keras_does() -> None:
    model = CharLSTM(ModelConfig(vocabulary=27, hidden=16, layers=2))
    model.initialise(torch.Generator().manual_seed(0))
    weights = model.state_dict()
    forget = torch.zeros(64)
    forget[16:32] = 1
    for layer, inputs in enumerate((27, 16)):
        recurrent = weights[f"lstm.weight_hh_l{layer}"]  # [64, 16]
        torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(16), atol=1e-5, rtol=0)
        limit = math.sqrt(6 / (inputs + 64))  # Glorot's
        largest = weights[f"lstm.weight_ih_l{layer}"].abs().max().item()
        assert 0.95 * limit < largest <= limit
        both = weights[f"lstm.bias_ih_l{layer}"] + weights[f"lstm.bias_hh_l{layer}"]
        assert torch.equal(both, forget)
    assert not weights["head.bias"].any()


@torch.no_grad()
def test_golden_greedy_text() -> None:
    """Best logits lead by 0.002 at the least, so rounding does not change this text."""
    model = CharLSTM(ModelConfig(vocabulary=27, hidden=16, layers=2))
    model.initialise(torch.Generator().manual_seed(7))
    for parameter in model.parameters():
        parameter.mul_(2)  # fresh weights alone say little
    token, state, text = torch.tensor([0]), model.zero_state(batch=1), ""
    for _ in range(len(GOLDEN)):
        logits, state = model.step(token, state)
        token = logits.argmax(dim=1)
        text += LETTERS[int(token)]
    assert text == GOLDEN
