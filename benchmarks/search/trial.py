"""Trains one variant on the beginning of a text and judges it on what follows."""

import copy
import math
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW, Optimizer

from charlm.benchmarks import machine
from charlm.benchmarks.search.network import Network
from charlm.benchmarks.search.variant import Result, Variant
from charlm.data.corpus import Corpus, Splits, split
from charlm.train.allocator import keep_freed_memory
from charlm.train.evaluate import bits_per_character
from charlm.train.model import State
from charlm.train.muon import Muon, orthogonalise
from charlm.train.streams import Streams

RANDOM_RESETS = 0.02  # of the streams, at each window, where a variant asks for them
LEARNT = 90  # percent
HELD = 0.6  # share of the steps before a held rate falls


def run(
    corpus: Corpus, variant: Variant, threads: int, *, test: bool, learnt: int = LEARNT
) -> Result:
    """Train and judge.

    Args:
        corpus: the whole text.
        variant: what to train.
        threads: of the CPU.
        test: judge the last 5 % too, which is for final rows alone.
        learnt: percent of the text that is learnt from. Of 90 the next 5 judge; of fewer all that
            is left does, as of a short text 5 % are too few to tell two trials apart.
    """
    keep_freed_memory()
    torch.set_num_threads(threads)
    torch.manual_seed(variant.seed)
    parts = _split(corpus.ids, learnt)
    network = Network(variant, len(corpus.vocabulary))
    network.initialise(torch.Generator().manual_seed(variant.seed))
    averaged = copy.deepcopy(network) if variant.average else None
    began = time.process_time()
    train_bits = _train(network, averaged, parts.train, variant)
    seconds = time.process_time() - began
    judged = averaged or network
    return Result(
        variant=variant,
        train_bits=round(train_bits, 4),
        validation_bits=round(bits_per_character(judged, parts.validation), 4),
        test_bits=round(bits_per_character(judged, parts.test), 4) if test else None,
        cpu_seconds=round(seconds, 1),
        cpu=machine.describe("cpu").cpu,
        parameters=sum(p.numel() for p in network.parameters()),
        learnt=learnt,
    )


def _split(ids: npt.NDArray[np.integer], learnt: int) -> Splits:
    if learnt == LEARNT:
        return split(ids)
    end = len(ids) * learnt // 100
    return Splits(ids[:end], ids[end:], ids[len(ids) :])


def _train(
    network: Network, averaged: Network | None, ids: npt.NDArray[np.integer], variant: Variant
) -> float:
    """Mean bits per character of the last epoch, as learnt from."""
    streams = Streams(ids, variant.batch, variant.window)
    optimisers = _optimisers(network, variant)
    groups = [group for optimiser in optimisers for group in optimiser.param_groups]
    total, step = variant.epochs * len(streams), 0
    state, nats, characters = network.zero_state(variant.batch), 0.0, 0
    for epoch in range(variant.epochs):
        nats, characters = 0.0, 0
        if variant.reset != "never":
            state = network.zero_state(variant.batch)
        for tokens, targets in _windows(streams, epoch, variant):
            share = _share(step, total, variant)
            for group in groups:
                group["lr"] = group["peak"] * share
            loss, state = _loss(network, tokens, targets, state)
            for optimiser in optimisers:
                optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(network.parameters(), variant.clip)
            for optimiser in optimisers:
                optimiser.step()
            if averaged:
                _average(averaged, network, variant.average)
            state = _reset(state, variant)
            nats += float(loss.detach()) * targets.numel()
            characters += targets.numel()
            step += 1
    return nats / characters / math.log(2)


def _loss(network: Network, tokens: Tensor, targets: Tensor, state: State) -> tuple[Tensor, State]:
    hidden, (h, c) = network(tokens, state)
    logits = network.logits(hidden)
    loss = functional.cross_entropy(logits.flatten(0, -2), targets.flatten())
    return loss, (h.detach(), c.detach())


def _windows(streams: Streams, epoch: int, variant: Variant) -> Iterator[tuple[Tensor, Tensor]]:
    begin = (epoch * len(streams)) // variant.epochs if variant.rotate else 0
    yield from streams.epoch(epoch, begin)
    for _, batch in zip(range(begin), streams.epoch(epoch, 0), strict=False):
        yield batch


def _reset(state: State, variant: Variant) -> State:
    if variant.reset != "random":
        return state
    kept = (torch.rand(1, variant.batch, 1) >= RANDOM_RESETS).float()
    return state[0] * kept, state[1] * kept


def _share(step: int, total: int, variant: Variant) -> float:
    """The rate as a share of its peak; `one-cycle` goes by cosines (Smith, 2018)."""
    rising = variant.warm_up * total
    if step < rising:
        way = (step + 1) / (rising + 1)
        return (1 - math.cos(math.pi * way)) / 2 if variant.schedule == "one-cycle" else way
    if variant.schedule == "one-cycle":
        return (1 + math.cos(math.pi * (step - rising) / (total - rising))) / 2
    falls_from = HELD * total if variant.schedule == "hold" else rising
    return min((total - step) / (total - falls_from), 1.0)


def _optimisers(network: Network, variant: Variant) -> list[Optimizer]:
    between = [] if variant.optimiser == "adam" else network.hidden_to_hidden()
    chosen = {id(matrix) for matrix in between}
    rest = [p for p in network.parameters() if id(p) not in chosen]
    decayed = {"params": [p for p in rest if p.dim() > 1], "weight_decay": variant.weight_decay}
    plain = {"params": [p for p in rest if p.dim() == 1], "weight_decay": 0.0}
    adam = AdamW([decayed, plain], lr=variant.lr, betas=(0.9, variant.beta2), fused=True)
    made: list[Optimizer] = [adam]
    if between:
        kind = _WholeMuon if variant.optimiser == "muon-whole" else Muon
        made.append(kind(between, variant.muon_lr, variant.weight_decay))
    for optimiser in made:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return made


class _WholeMuon(Muon):
    """Muon over all four gates as one matrix."""

    def _direction(self, update: Tensor) -> Tensor:
        return orthogonalise(update.unsqueeze(0))[0]


@torch.no_grad()
def _average(averaged: Network, network: Network, decay: float) -> None:
    for mean, weights in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(weights, 1 - decay)
