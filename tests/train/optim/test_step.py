"""The forms of a training step: they learn the same, and none makes the GPU wait."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from charlm.data.text.corpus import split
from charlm.train.config import TrainingConfig
from charlm.train.loop.training import Trainer
from charlm.train.optim.step import LOSS_SCALE, Graphed, Objective, allow_tf32, make_step
from charlm.train.runs.checkpoint import Checkpoint
from tests.train.helpers import Watcher, setup_of

IDS = np.random.default_rng(5).integers(0, 4, 1200).astype(np.uint8)
BASE = TrainingConfig(epochs=2, batch_size=4, seq_len=32, lr=0.03)
LAYERS = 2  # a matrix between layers is Muon's, too

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def make(config: TrainingConfig = BASE, dropout: float = 0.0) -> Trainer:
    setup = setup_of(config, layers=LAYERS, dropout=dropout, output_dropout=dropout)
    return Trainer(setup, split(IDS), None)


def learnt(trainer: Trainer) -> Checkpoint:
    watcher = Watcher()
    assert trainer.run(watcher)
    assert watcher.saved is not None
    return watcher.saved


def assert_learnt_the_same(one: Checkpoint, other: Checkpoint, tolerance: float) -> None:
    for name, weights in one.progress.weights.items():
        torch.testing.assert_close(
            weights, other.progress.weights[name], rtol=tolerance, atol=tolerance
        )
    for left, right in zip(one.progress.metrics, other.progress.metrics, strict=True):
        assert left["train_bits"] == pytest.approx(right["train_bits"], abs=10 * tolerance)
        assert left["lr"] == pytest.approx(right["lr"], rel=1e-6)


def test_rates_kept_as_tensors_move_the_weights_as_numbers_do() -> None:
    decaying = replace(BASE, weight_decay=0.5)
    plain = learnt(make(decaying))
    trainer = make(decaying)
    trainer.optimiser.rates_on("cpu")
    saved = learnt(trainer)
    assert all(isinstance(group["lr"], torch.Tensor) for group in trainer.optimiser.param_groups)
    assert_learnt_the_same(saved, plain, 1e-5)
    for part in saved.progress.optimiser["parts"]:
        assert {type(group["lr"]) for group in part["param_groups"]} == {float}
    assert all(isinstance(group["lr"], torch.Tensor) for group in trainer.optimiser.param_groups)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # which Torch itself looks at
def test_a_compiled_step_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Torch makes of the step, forward and backward, run without a compiler for the CPU."""
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, given: list[torch.Tensor]) -> Any:
        graphs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, given)

    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module: compile(module, backend=backend))
    found = learnt(make(replace(BASE, step="compiled")))
    assert graphs
    assert_learnt_the_same(found, learnt(make()), 1e-5)


class Replayed:
    """A recording on the CPU: a replay works through the step, and writes where a graph would."""

    def __init__(self, graphed: Graphed) -> None:
        self.graphed = graphed
        graphed.loss = torch.zeros(())

    def replay(self) -> None:
        graphed = self.graphed
        tokens, targets, h, c = graphed.inputs
        loss, (h_next, c_next) = graphed.step(tokens, targets, (h, c))
        for kept, new in ((graphed.loss, loss), (h, h_next), (c, c_next)):
            kept.copy_(new)


def test_a_recorded_step_learns_the_same_up_to_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[Replayed] = []

    def record(graphed: Graphed, given: tuple[torch.Tensor, ...]) -> Replayed:
        graphed.inputs = tuple(torch.zeros_like(tensor) for tensor in given)
        recorded.append(Replayed(graphed))
        return recorded[-1]

    class Stream:
        def wait_stream(self, other: object) -> None: ...

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(Graphed, "_record", record)
    trainer = make()
    trainer.optimiser.rates_on("cpu")
    trainer.step = Graphed(trainer.step)
    found = learnt(trainer)
    assert len(recorded) == 1
    steps = len(trainer.batches)
    assert trainer.batches.characters(steps - 1) < trainer.batches.characters(0)  # run as it comes
    assert_learnt_the_same(found, learnt(make()), 1e-5)


def test_only_a_shape_that_comes_twice_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run may be resumed just before an epoch's last, shorter batch."""
    recorded: list[int] = []

    def record(graphed: Graphed, given: tuple[torch.Tensor, ...]) -> Any:
        graphed.inputs = given
        recorded.append(len(given[0]))
        return SimpleNamespace(replay=lambda: None)

    monkeypatch.setattr(torch.cuda, "Stream", object)
    monkeypatch.setattr(Graphed, "_record", record)
    monkeypatch.setattr(Graphed, "_warm_up", lambda self, *given: self.step(*given))
    graphed = Graphed(lambda tokens, targets, state: (tokens, state))
    state = (torch.zeros(1), torch.zeros(1))
    for length in (8, 8, 8, 5, 8, 8, 5, 8):
        graphed(torch.zeros(length), torch.zeros(length), state)
    assert recorded == [8]


def test_half_precision_scales_the_loss_and_moves_the_weights_as_ever() -> None:
    config = replace(BASE)
    object.__setattr__(config, "autocast", "bf16")  # which the CPU does without
    trainer = make()
    objective = Objective(trainer.model, BASE)
    seen: list[torch.Tensor] = []
    trainer.model.head.weight.register_hook(lambda gradient: seen.append(gradient.clone()))
    trainer.step = make_step(objective, trainer.model, trainer.optimiser, config)
    scaled = learnt(trainer)
    plain: list[torch.Tensor] = []
    trainer = make()
    trainer.model.head.weight.register_hook(lambda gradient: plain.append(gradient.clone()))
    assert_learnt_the_same(scaled, learnt(trainer), 0.0)
    torch.testing.assert_close(seen[0], LOSS_SCALE * plain[0], rtol=0, atol=0)


def test_the_precision_asked_for_is_that_of_products() -> None:
    for allowed in (True, False):
        allow_tf32(allowed)
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
        assert torch.backends.cudnn.allow_tf32 is allowed
    found: set[torch.dtype] = set()
    trainer = make()
    trainer.model.run_lstm = lambda read, state, weights, training: (  # in bf16 it is the GPU's
        found.add(torch.mm(weights[1], weights[1].mT).dtype) or torch.zeros(32, 4, 8),
        *state,
    )
    for asked in ("none", "bf16"):
        config: Any = SimpleNamespace(device="cpu", autocast=asked)  # settings keep it to GPUs
        tokens, targets = next(iter(trainer.batches.epoch(0, 0)))
        Objective(trainer.model, config)(tokens, targets, trainer.model.zero_state(4))
    assert found == {torch.float32, torch.bfloat16}


class Reads(TorchDispatchMode):
    """Counts what makes the host wait for a GPU: a tensor's value that Python asks for."""

    found = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        waits = (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
            torch.ops.aten.is_nonzero.default,
        )
        self.found += func in waits
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("tensors", [False, True], ids=["numbers", "tensors"])
@pytest.mark.parametrize(
    "how", [{"optimiser": "muon"}, {"optimiser": "adam"}, {"recipe": "notebook", "seq_len": 40}]
)
def test_a_step_reads_no_value_from_the_device(how: dict[str, Any], tensors: bool) -> None:
    trainer = make(replace(BASE, **how))
    trainer._fix_steps(20)
    if tensors:
        trainer.optimiser.rates_on("cpu")
    with Reads() as reads:
        for tokens, targets in list(trainer.batches.epoch(0, 0))[:3]:
            trainer._step(tokens, targets)
        assert reads.found == 0
        trainer._training_bits()
        assert reads.found == 1, "a look does, so it would have been seen"


@contextmanager
def no_waiting() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
@cuda
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # is a prototype, says Torch
@pytest.mark.parametrize("form", ["eager", "graph"])
@pytest.mark.parametrize("autocast", ["none", "bf16"])
def test_nothing_waits_for_the_gpu(form: Any, autocast: Any) -> None:
    trainer = make(replace(BASE, device="cuda", step=form, autocast=autocast))
    assert trainer.batches.rows.device.type == "cuda"  # type: ignore[union-attr]
    trainer._fix_steps(40)
    batches = list(trainer.batches.epoch(0, 0))[:-1]
    for tokens, targets in batches[:4]:  # the recording itself may wait
        trainer._step(tokens, targets)
    with no_waiting():
        for tokens, targets in batches[4:]:
            trainer._step(tokens, targets)


@pytest.mark.cuda
@cuda
@pytest.mark.filterwarnings("ignore")  # the compiler's advice on TF32, and on what it leaves out
@pytest.mark.parametrize(("form", "dropout"), [("graph", 0.0), ("graph", 0.3), ("compiled", 0.0)])
def test_forms_learn_the_same_on_a_gpu(form: Any, dropout: float) -> None:
    """A replay drops what an eager step would; compiled code draws other numbers."""
    eager = learnt(make(replace(BASE, device="cuda"), dropout))
    trainer = make(replace(BASE, device="cuda", step=form), dropout)
    places = [parameter.data_ptr() for parameter in trainer.model.parameters()]
    assert_learnt_the_same(learnt(trainer), eager, 1e-3)
    assert places == [parameter.data_ptr() for parameter in trainer.model.parameters()]
