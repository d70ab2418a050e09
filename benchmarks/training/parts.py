"""A training step in growing prefixes, so that the difference of two is the cost of a part."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from charlm.train.config import ModelConfig, TrainingConfig
from charlm.train.model import CharLSTM
from charlm.train.muon import GATES, ITERATIONS
from charlm.train.optimise import clip_gradients, make_optimiser

PREFIXES = ("forward", "loss", "backward", "clip", "optimiser")
"""Each with all before it; the last is the whole step."""
SIDE = 1024  # of the square matrices whose product is the peak
DIRECTIONS = 3  # a product forward, and two of its size backward


@dataclass(frozen=True)
class Size:
    """A step's size: `vocabulary` characters, `batch` streams, windows of `window`."""

    hidden: int
    batch: int
    window: int
    vocabulary: int = 62

    def __str__(self) -> str:
        return f"{self.hidden} units, {self.batch} × {self.window}, {self.vocabulary:,} characters"

    def characters(self) -> int:
        """Targets in a step."""
        return self.batch * self.window

    def model_products(self) -> int:
        """Floating-point operations of the model's products; the input's is an index."""
        weights = GATES * self.hidden**2 + self.hidden * self.vocabulary
        return 2 * DIRECTIONS * weights * self.characters()

    def muon_products(self) -> int:
        """Floating-point operations of Muon's iteration: three products of squares for a gate."""
        return ITERATIONS * GATES * 3 * 2 * self.hidden**3


def peak() -> Callable[[], object]:
    """One product of two square matrices."""
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    out = torch.empty(SIDE, SIDE)
    return lambda: torch.mm(a, b, out=out)


def prefixes(size: Size) -> dict[str, Callable[[], object]]:
    """What the training loop does with one batch, up to each of `PREFIXES`."""
    torch.manual_seed(0)
    config = TrainingConfig(batch_size=size.batch, seq_len=size.window)
    model = CharLSTM(ModelConfig(size.vocabulary, size.hidden))
    model.initialise(torch.Generator().manual_seed(0))
    optimiser = make_optimiser(model, config)
    ids = torch.randint(size.vocabulary, (size.window + 1, size.batch))
    state = model.zero_state(size.batch)

    def run(last: str) -> None:
        upto = PREFIXES.index(last)
        hidden, _ = model(ids[:-1], state)
        if upto == 0:
            return
        loss = _loss(model, hidden, ids[1:])
        if upto == 1:
            return
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if upto >= PREFIXES.index("clip"):
            clip_gradients(model, config)
        if last == "optimiser":
            optimiser.step()

    return {name: lambda name=name: run(name) for name in PREFIXES}  # type: ignore[misc]


def _loss(model: CharLSTM, hidden: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(model.head(hidden).flatten(0, -2), targets.flatten())
