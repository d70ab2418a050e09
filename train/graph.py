"""A training step as a CUDA graph: recorded once, then started by one call a step.

At a small model's sizes a GPU is done with a kernel before Python has launched the next; a graph
leaves Python out.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from charlm.train.model import State

WARM_UP = 3  # steps before the recording, in which libraries choose kernels and take memory


class Graphed:
    """A step that is recorded after a few calls; batches of another shape are run as they come.

    The usual shape is one that comes twice running: the last batch of an epoch may be shorter.

    After https://docs.pytorch.org/docs/stable/notes/cuda.html#whole-network-capture.

    Args:
        step: all of whose work is on the GPU, and whose numbers that change are tensors.
    """

    def __init__(self, step: Callable[[Tensor, Tensor, State], tuple[Tensor, State]]) -> None:
        self.step = step
        self.calls = 0
        self.shape = torch.Size()  # of the last call's tokens
        self.side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: tuple[Tensor, ...] = ()  # tokens, targets, h, c: the graph's own
        self.loss = torch.empty(0)

    def __call__(self, tokens: Tensor, targets: Tensor, state: State) -> tuple[Tensor, State]:
        """Learn from a batch; see `step.Step`."""
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
