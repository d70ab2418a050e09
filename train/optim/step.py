"""One optimiser step, in three forms that learn the same: eager, compiled, or a CUDA graph."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from charlm.train.config import TrainingConfig
from charlm.train.model import CharLSTM, State, lstm
from charlm.train.optim.optimisers import Optimisers

Step = Callable[[Tensor, Tensor, State], tuple[Tensor, State]]
"""Learns from a batch: (tokens, targets, state before) -> (mean loss in nats, state after).

What it returns holds until the next step only, as a graph writes into the same memory again.
"""
WARM_UP = 3  # steps before the recording, in which libraries choose kernels and take memory
# Torch's autocast gives cuDNN's LSTM float16 whatever it was asked for, and the mean over thousands
# of characters leaves each a gradient below what that can tell from zero. A power of two: where
# nothing is rounded, nothing changes.
LOSS_SCALE = 1024.0


class Objective(nn.Module):
    """Mean cross-entropy of a batch in nats a character, as a module that can be replicated.

    Args:
        model: what is trained; shared, not copied.
        config: the recipe, and the precision of the products.
    """

    def __init__(self, model: CharLSTM, config: TrainingConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(self, tokens: Tensor, targets: Tensor, state: State) -> tuple[Tensor, State]:
        """Read a window and compare what it predicts.

        Args:
            tokens: ids, int64 of shape [time, batch].
            targets: ids, int64: [time, batch], or [batch] in the notebook's recipe, which
                predicts only the character after the window.
            state: (h, c) before the first character.

        Returns:
            The loss, a float32 scalar, and the state after the last character.
        """
        bf16 = self.config.autocast == "bf16"
        with torch.autocast(self.config.device, torch.bfloat16, enabled=bf16):
            hidden, state = self.model(tokens, state)
            logits = self.model.logits(hidden if targets.dim() == 2 else hidden[-1])
        return functional.cross_entropy(logits.float().flatten(0, -2), targets.flatten()), state


class Graphed:
    """A step that is recorded after a few calls; batches of another shape are run as they come.

    The usual shape is one that comes twice running: the last batch of an epoch may be shorter.

    After https://docs.pytorch.org/docs/stable/notes/cuda.html#whole-network-capture.

    Args:
        step: all of whose work is on the GPU, and whose numbers that change are tensors.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.calls = 0
        self.shape = torch.Size()  # of the last call's tokens
        self.side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: tuple[Tensor, ...] = ()  # tokens, targets, h, c: the graph's own
        self.loss = torch.empty(0)

    def __call__(self, tokens: Tensor, targets: Tensor, state: State) -> tuple[Tensor, State]:
        """Learn from a batch; see `Step`."""
        self.calls += 1
        again, self.shape = tokens.shape == self.shape, tokens.shape
        if self.calls <= WARM_UP:
            return self._warm_up(tokens, targets, state)
        given = (tokens, targets, *state)
        if self.graph is None and again:
            self.graph = self._record(given)
        shapes = [ours.shape for ours in self.inputs]
        if self.graph is None or shapes != [theirs.shape for theirs in given]:
            return self.step(tokens, targets, state)
        for ours, theirs in zip(self.inputs, given, strict=True):
            if ours is not theirs:  # the state that a replay leaves is where the next one reads it
                ours.copy_(theirs)
        self.graph.replay()
        return self.loss, (self.inputs[2], self.inputs[3])

    def _warm_up(self, tokens: Tensor, targets: Tensor, state: State) -> tuple[Tensor, State]:
        """A recording needs what came before it to have run on another stream than the main one."""
        main = torch.cuda.current_stream()
        self.side.wait_stream(main)
        with torch.cuda.stream(self.side):
            result = self.step(tokens, targets, state)
        main.wait_stream(self.side)
        return result

    def _record(self, given: tuple[Tensor, ...]) -> torch.cuda.CUDAGraph:
        """Record a step on tensors like `given`; it is not run."""
        self.inputs = tuple(tensor.clone() for tensor in given)
        tokens, targets, h, c = self.inputs
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.loss, (h_next, c_next) = self.step(tokens, targets, (h, c))
            h.copy_(h_next)
            c.copy_(c_next)
        return graph


def make_step(
    objective: nn.Module, model: CharLSTM, optimiser: Optimisers, config: TrainingConfig
) -> Step:
    """The form that `config.step` names. None of them waits for the GPU.

    Args:
        objective: an `Objective` of `model`, or its replica among processes.
        model: whose gradients are clipped.
        optimiser: of its parameters.
        config: the recipe, the precision, and the form.
    """
    forward: Callable[..., tuple[Tensor, State]] = objective
    if config.step == "compiled":
        model.run_lstm = torch.compiler.disable(lstm)  # type: ignore[no-untyped-call]  # it would unroll the steps
        forward = torch.compile(objective)

    scale = LOSS_SCALE if config.autocast == "bf16" else 1.0

    def step(tokens: Tensor, targets: Tensor, state: State) -> tuple[Tensor, State]:
        loss, (h, c) = forward(tokens, targets, state)
        optimiser.zero_grad()
        torch.autograd.backward(loss * scale if scale != 1.0 else loss)
        if scale != 1.0:
            torch._foreach_mul_(
                [p.grad for p in model.parameters() if p.grad is not None], 1 / scale
            )
        if config.recipe == "stateful":  # the notebook does not
            nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimiser.step()
        return loss.detach(), (h.detach().float(), c.detach().float())

    if config.step != "graph":
        return step
    optimiser.rates_on(config.device)
    return Graphed(step)


def allow_tf32(allowed: bool) -> None:
    """Let CUDA's products and cuDNN round their factors to TF32, or not: it is the process's."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
