"""A graph that is wrong in any way fails its proof, and the message says how; right ones pass."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from charlm.data.system.errors import CharlmError, ExportError, ModelFileError
from charlm.export import weights
from charlm.export.contract import (
    GENERATE,
    GREEDY,
    KINDS,
    NATIVE,
    SEQUENCE,
    STEP,
    Kind,
    Metadata,
)
from charlm.export.graphs import build_siblings, step_graph
from charlm.export.proof.errors import Errors, Proof
from charlm.export.proof.prove import due_tokens, prove_siblings, prove_step
from charlm.export.proof.texts import runs
from charlm.export.weights import Weights
from charlm.infer.sampling.draw import Sampler, Sampling
from charlm.infer.sampling.filters import NO_FILTERS
from charlm.infer.sampling.philox import UniformStream
from charlm.train.model import CharLSTM

Make = Callable[..., CharLSTM]
Describe = Callable[[CharLSTM], Metadata]
Change = Callable[[onnx.GraphProto], None]

EVERY, SIBLINGS, PORTABLE = (
    [pytest.param(kind, id=kind.name) for kind in kinds]
    for kinds in (
        (STEP, *KINDS.values()),
        KINDS.values(),
        (STEP, GENERATE, SEQUENCE),
    )
)
UNEQUAL = r" does not (equal|draw as) the Torch model"


class Prove(Protocol):
    def __call__(
        self,
        model: CharLSTM,
        kind: Kind = STEP,
        change: Change | None = None,
        other: CharLSTM | Weights | None = None,
        steps: int = 100,
    ) -> Proof: ...


@pytest.fixture
def prove(metadata_of: Describe) -> Prove:
    """Prove a graph of `other` weights, changed, as if it were one of `model`."""

    def build(laid_out: Weights, metadata: Metadata, kind: Kind) -> bytes:
        if kind == STEP:
            return step_graph.build(laid_out, metadata)
        return build_siblings(laid_out, metadata, [kind])[kind]

    def run(
        model: CharLSTM,
        kind: Kind = STEP,
        change: Change | None = None,
        other: CharLSTM | Weights | None = None,
        steps: int = 100,
    ) -> Proof:
        metadata, own = metadata_of(model), weights.from_torch(model)
        laid_out = weights.from_torch(other) if isinstance(other, CharLSTM) else other or own
        content = build(laid_out, metadata, kind)
        if change is not None:
            proto = onnx.load_model_from_string(content)
            change(proto.graph)
            content = proto.SerializeToString()
        if kind == STEP:
            return prove_step(content, model, metadata, "m.onnx", steps)[0]
        _, texts = prove_step(build(own, metadata, STEP), model, metadata, "step", steps)
        return prove_siblings({kind: content}, model, metadata, texts, {kind: "m.onnx"})[kind]

    return run


def with_large_cells(model: CharLSTM) -> CharLSTM:
    """Gates that add almost one to every cell at each step, and forget next to nothing."""
    hidden = model.config.hidden
    for layer in range(model.config.layers):
        bias = getattr(model.lstm, f"bias_ih_l{layer}").data
        bias[:hidden] += 8  # input gate
        bias[hidden : 2 * hidden] += 16  # forget gate
        bias[2 * hidden : 3 * hidden] += 6  # the cell's new content
    return model


def body_of(graph: onnx.GraphProto) -> onnx.GraphProto:
    """The body of the loop, or the graph itself where it has none."""
    for node in graph.node:
        if node.op_type == "Scan":
            return next(attribute.g for attribute in node.attribute if attribute.name == "body")
    return graph


def renamed(graph: onnx.GraphProto, names: dict[str, str], *, outputs: bool) -> None:
    for node in graph.node:
        listed = node.output if outputs else node.input
        listed[:] = [names.get(name, name) for name in listed]


def constant(graph: onnx.GraphProto, name: str, value: object) -> None:
    graph.initializer.append(numpy_helper.from_array(np.array(value), name))


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize(("layers", "vocabulary"), [(1, 12), (3, 256), (2, 257)])
def test_a_right_graph_passes(
    make_model: Make, prove: Prove, kind: Kind, layers: int, vocabulary: int
) -> None:
    model = make_model(layers=layers, scale=2.0, vocabulary=vocabulary)
    torch.set_num_threads(2)
    proof = prove(model, kind, steps=150)
    assert torch.get_num_threads() == 2
    assert 0 < max(proof.step.values()) <= 1e-5
    assert 0 < max(proof.carried.values()) <= 1e-3
    names = {"h_next", "c_next"}
    names |= set() if kind == GENERATE else {"logits"}
    names |= {"log_probability"} if kind in (NATIVE, SEQUENCE) else set()
    places = {(batch, name) for batch in (1, 3, 64) for name in names}
    assert proof.carried.keys() == proof.step.keys() == places
    assert proof.steps == 150
    assert proof.drawn == (150 * 68 if kind in (NATIVE, GENERATE) else 0)
    assert proof.flips <= 3


def test_proofs_read_well() -> None:
    carried = {(1, "h_next"): 2e-6, (3, "h_next"): 1e-5}
    step = {(1, "h_next"): 2e-7}
    assert Proof(step, carried, steps=1000, drawn=68_000, flips=1).lines() == [
        "largest relative error, one step: h_next 2.0e-07 (allowed 1e-05)",
        "largest relative error, 1000 carried steps: h_next 1.0e-05 (allowed 1e-03)",
        "68,000 characters drawn as due, 1 by near-ties",
    ]


def test_the_largest_error_counts_whenever_it_came() -> None:
    errors, zeros = Errors(), np.zeros((2, 3), dtype=np.float32)
    for error in (0.0, 0.5, 0.25):
        errors.add({"h": zeros + np.float32([[error], [0]])}, {"h": zeros})
    assert errors.relative() == {(2, "h"): 0.5}


@pytest.mark.parametrize(
    ("step", "carried", "saying"),
    [
        (9e-6, 9e-4, None),
        (1.1e-5, 0.0, "h_next after one step at batch 3 differs by 1.10e-05"),
        (0.0, 1.1e-3, "h_next within 30 carried steps at batch 3 differs by 1.10e-03"),
        (np.nan, 0.0, "differs by nan"),
    ],
)
def test_tolerances_of_a_step_and_of_many(step: float, carried: float, saying: str | None) -> None:
    proof = Proof({(3, "h_next"): step}, {(3, "h_next"): carried}, steps=30)
    with pytest.raises(ExportError, match=saying) if saying else contextlib.nullcontext():
        proof.check("m.onnx")


def test_large_cells_pass(make_model: Make, prove: Prove) -> None:
    """Where float32 itself is coarser than the tolerance: it is relative to the cells' size."""
    model = with_large_cells(make_model(layers=1, scale=0.5))
    token, state = torch.tensor([0]), model.zero_state(1)
    with torch.no_grad():
        for _ in range(1000):
            _, state = model.step(token, state)
    largest = float(state[1].abs().max())
    assert largest > 600
    # An absolute tolerance would have refused it.
    assert max(prove(model, steps=1000).carried.values()) * largest > 1e-5


@pytest.mark.parametrize(("offset", "size"), [(0, 1.0), (100, 100.0)])
def test_an_error_is_relative_to_the_streams_own_magnitude(
    make_model: Make, prove: Prove, offset: float, size: float
) -> None:
    """Logits a hundred times larger may differ a hundred times more, and no more than that."""
    model = make_model(scale=0.3)
    model.head.bias.data += offset
    laid = weights.from_torch(model)
    laid.head_bias[3] += 0.5e-5 * size
    prove(model, other=laid)
    laid.head_bias[3] += 1.5e-5 * size
    with pytest.raises(ExportError, match="logits after one step at batch 1 "):
        prove(model, other=laid)


def test_an_error_that_builds_up_is_found(make_model: Make, prove: Prove) -> None:
    """Within the tolerance of each step, and beyond that of many."""
    model = make_model(layers=1)
    model.get_parameter("lstm.bias_ih_l0").data[:16] = -20  # the input gate lets nothing in
    model.get_parameter("lstm.bias_ih_l0").data[16:32] = 20  # the forget gate keeps all

    def add_a_little(graph: onnx.GraphProto) -> None:
        renamed(graph, {"c_next": "right"}, outputs=True)
        constant(graph, "little", np.float32(8e-6))
        renamed(graph, {"c_next": "right"}, outputs=False)
        graph.node.append(helper.make_node("Add", ["right", "little"], ["c_next"]))

    with pytest.raises(ExportError, match="within 300 carried steps at batch 1 differs by"):
        prove(model, STEP, add_a_little, steps=300)


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize(
    "parameter",
    ["lstm.weight_ih_l0", "lstm.weight_hh_l0", "lstm.weight_ih_l1", "lstm.weight_hh_l1",
     "lstm.bias_hh_l1", "head.weight", "head.bias"],
)  # fmt: skip
def test_one_weight_nudged_is_found(
    make_model: Make, prove: Prove, kind: Kind, parameter: str
) -> None:
    nudged = make_model()
    nudged.get_parameter(parameter).data.view(-1)[5] += 0.01
    with pytest.raises(ExportError, match=UNEQUAL):
        prove(make_model(), kind, other=nudged)


@pytest.mark.parametrize("kind", EVERY)
def test_swapped_gates_are_found(make_model: Make, prove: Prove, kind: Kind) -> None:
    swapped = make_model()
    for name, parameter in swapped.named_parameters():
        if name.startswith("lstm"):
            i, f, g, o = parameter.data.chunk(4)
            parameter.data = torch.cat((i, o, g, f))
    with pytest.raises(ExportError, match=UNEQUAL):
        prove(make_model(), kind, other=swapped)


def exchange_states(graph: onnx.GraphProto) -> None:
    renamed(graph, {"h_next": "c_next", "c_next": "h_next"}, outputs=True)


def forget(graph: onnx.GraphProto) -> None:
    """Right from a zero state, and so right in one run: found since the texts are cut."""
    constant(graph, "nothing", np.float32(0))
    renamed(graph, {"h": "no_h"}, outputs=False)
    graph.node.insert(0, helper.make_node("Mul", ["h", "nothing"], ["no_h"]))


def give_nan(graph: onnx.GraphProto) -> None:
    renamed(graph, {"c_next": "right"}, outputs=True)
    constant(graph, "nan", np.float32(np.nan))
    graph.node.append(helper.make_node("Mul", ["right", "nan"], ["c_next"]))


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("change", [exchange_states, forget, give_nan])
def test_a_wrong_state_is_found(make_model: Make, prove: Prove, kind: Kind, change: Change) -> None:
    said = r"^m\.onnx: a run of it failed: .*not finite|" + UNEQUAL
    with pytest.raises(CharlmError, match=said):
        prove(make_model(), kind, change)


def test_a_fault_of_large_batches_only_is_found(make_model: Make, prove: Prove) -> None:
    def add_a_share_of_the_batch(graph: onnx.GraphProto) -> None:
        """logits + max(0, batch - 3): right at batches 1 and 3, wrong at 64."""
        renamed(graph, {"logits": "right"}, outputs=True)
        constant(graph, "three", 3)
        constant(graph, "none", np.float32(0))
        graph.node.extend(
            [
                helper.make_node("Size", ["token"], ["streams"]),
                helper.make_node("Sub", ["streams", "three"], ["more"]),
                helper.make_node("Cast", ["more"], ["surplus"], to=onnx.TensorProto.FLOAT),
                helper.make_node("Max", ["surplus", "none"], ["error"]),
                helper.make_node("Add", ["right", "error"], ["logits"]),
            ]
        )

    with pytest.raises(ExportError, match="logits after one step at batch 64 differs by"):
        prove(make_model(layers=1), STEP, add_a_share_of_the_batch)


def rolled(graph: onnx.GraphProto, name: str) -> None:
    """Give the output `name` shifted by one along its second axis."""
    renamed(graph, {name: "right"}, outputs=True)
    for key, number in {"start": 0, "minus": -1, "end": 1 << 40, "second": 1}.items():
        constant(graph, key, [number])
    graph.node.extend(
        [
            helper.make_node("Slice", ["right", "start", "minus", "second"], ["all_but_last"]),
            helper.make_node("Slice", ["right", "minus", "end", "second"], ["the_last"]),
            helper.make_node("Concat", ["the_last", "all_but_last"], [name], axis=1),
        ]
    )


@pytest.mark.parametrize(
    ("kind", "name", "saying"),
    [
        (NATIVE, "tokens", r"m\.onnx does not draw .* was due"),
        (GENERATE, "tokens", r"m\.onnx does not draw .* was due"),
        (NATIVE, "log_probability", "Torch model: log_probability (after one|within 100)"),
        (SEQUENCE, "log_probability", "Torch model: log_probability (after one|within 100)"),
    ],
)
def test_what_is_shifted_by_one_is_found(
    make_model: Make, prove: Prove, kind: Kind, name: str, saying: str
) -> None:
    with pytest.raises(ExportError, match=saying):
        prove(make_model(), kind, lambda graph: rolled(graph, name))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (SEQUENCE, {"tokens": "targets", "targets": "tokens"}),
        (NATIVE, {"seed": "stream", "stream": "seed"}),
        (NATIVE, {"position": "stream"}),
        (NATIVE, {"stream": "position"}),
    ],
)
def test_inputs_taken_for_others_are_found(
    make_model: Make, prove: Prove, kind: Kind, names: dict[str, str]
) -> None:
    with pytest.raises(ExportError, match=UNEQUAL):
        prove(make_model(), kind, lambda graph: renamed(graph, names, outputs=False))


def test_a_token_that_is_drawn_but_not_read_is_found(make_model: Make, prove: Prove) -> None:
    """The state goes on with other characters than those that are given out."""

    def read_another(graph: onnx.GraphProto) -> None:
        body = body_of(graph)
        constant(body, "one", 1)
        constant(body, "characters", 12)
        renamed(body, {"token": "wrong"}, outputs=False)
        place = 1 + next(i for i, node in enumerate(body.node) if "token" in node.output)
        body.node.insert(place, helper.make_node("Add", ["token", "one"], ["next"]))
        body.node.insert(place + 1, helper.make_node("Mod", ["next", "characters"], ["wrong"]))

    with pytest.raises(ExportError, match=UNEQUAL):
        prove(make_model(), GENERATE, read_another)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(NATIVE, "inverse_temperature"), (GENERATE, "inverse_temperature"), (GENERATE, "uniform")],
)
def test_an_input_that_is_a_little_off_is_found(
    make_model: Make, prove: Prove, kind: Kind, name: str
) -> None:
    def scale(graph: onnx.GraphProto) -> None:
        constant(graph, "less", np.float32(0.99))
        renamed(graph, {name: "scaled_input"}, outputs=False)
        graph.node.insert(0, helper.make_node("Mul", [name, "less"], ["scaled_input"]))

    with pytest.raises(ExportError, match="does not draw"):
        prove(make_model(), kind, scale)


def test_tokens_past_the_vocabulary_are_found(make_model: Make, prove: Prove) -> None:
    def raise_them(graph: onnx.GraphProto) -> None:
        renamed(graph, {"tokens": "right"}, outputs=True)
        constant(graph, "hundred", np.uint8(100))
        graph.node.append(helper.make_node("Max", ["right", "hundred"], ["tokens"]))

    with pytest.raises(ExportError, match="tokens that are no characters of the model"):
        prove(make_model(), GENERATE, raise_them)


@pytest.mark.parametrize("kind", PORTABLE)
def test_a_graph_that_fails_as_it_runs_is_one_line(
    make_model: Make, prove: Prove, kind: Kind
) -> None:
    def shorten(graph: onnx.GraphProto) -> None:
        """A table of a third of the characters: the others can't be looked up."""
        body = body_of(graph)
        name = {STEP: "table", SEQUENCE: "one_hot", GENERATE: "table_i_0"}[kind]
        (tensor,) = (t for t in body.initializer if t.name == name)
        array = numpy_helper.to_array(tensor)[:4]
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    with pytest.raises(ExportError, match=r"^m\.onnx: a (run|step) of .* failed: .*Gather"):
        prove(make_model(), kind, shorten)


@pytest.mark.parametrize("damage", ["nan", "overflow"])
def test_a_model_that_gives_no_numbers_is_told(make_model: Make, prove: Prove, damage: str) -> None:
    model = make_model()
    if damage == "nan":
        model.head.bias.data[0] = float("nan")
    else:
        model.head.weight.data *= 1e38
        model.head.bias.data.fill_(3.3e38)
    with pytest.raises(ExportError, match="not finite"):
        prove(model)


def test_a_graph_of_another_size_is_refused(
    make_model: Make, metadata_of: Describe, build: Callable[[CharLSTM], bytes]
) -> None:
    model = make_model(hidden=16)
    with pytest.raises(ModelFileError, match=r"m\.onnx: not a charlm step graph.* 2 x 16 units"):
        prove_step(build(make_model(hidden=8)), model, metadata_of(model), "m.onnx", 2)


def test_a_graph_that_can_not_be_loaded_is_refused(make_model: Make, prove: Prove) -> None:
    def misspell(graph: onnx.GraphProto) -> None:
        graph.node[0].op_type = "Gathr"

    with pytest.raises(ModelFileError, match=r"^m\.onnx: ONNX Runtime can't load it: .*Gathr"):
        prove(make_model(), change=misspell)


@pytest.mark.parametrize("kind", SIBLINGS)
def test_other_tensors_are_refused(make_model: Make, prove: Prove, kind: Kind) -> None:
    def rename(graph: onnx.GraphProto) -> None:
        renamed(graph, {"c_next": "cells"}, outputs=True)
        (output,) = (each for each in graph.output if each.name == "c_next")
        output.name = "cells"

    said = rf"^m\.onnx: not a charlm graph of kind {kind.name}: its tensors are "
    with pytest.raises(ModelFileError, match=said):
        prove(make_model(), kind, rename)


def build_one(model: CharLSTM, metadata: Metadata, kind: Kind) -> bytes:
    return build_siblings(weights.from_torch(model), metadata, [kind])[kind]


def in_another_file(content: bytes, name: str) -> bytes:
    """The graph, its weights in a file in the current folder."""
    onnx.save_model(
        onnx.load_model_from_string(content),
        f"{name}.onnx",
        save_as_external_data=True,
        location=f"{name}.data",
        size_threshold=64,
    )
    return Path(f"{name}.onnx").read_bytes()


def test_files_that_are_no_siblings_of_the_model_are_refused(
    make_model: Make, metadata_of: Describe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model, other = make_model(), make_model(seed=1)
    metadata = metadata_of(model)
    step = step_graph.build(weights.from_torch(model), metadata)
    _, texts = prove_step(step, model, metadata, "step", 2)
    refused = [
        *((kind, build_one(other, metadata_of(other), kind), "other weights than the model")
          for kind in KINDS.values()),
        (SEQUENCE, build_one(model, metadata, GENERATE), "is 'generate', not 'sequence'"),
        *((GENERATE, content, "can't load it") for content in (b"x", b"\0" * 64, b"\xff" * 64)),
        *((kind, in_another_file(build_one(model, metadata, kind), kind.name), ".*xternal")
          for kind in (NATIVE, SEQUENCE)),
    ]  # fmt: skip
    for kind, content, saying in refused:
        with pytest.raises(ModelFileError, match=rf"^m\.onnx: .*{saying}"):
            prove_siblings({kind: content}, model, metadata, texts, {kind: "m.onnx"})


SHARES = np.log(np.array([0.5, 0.25, 0.125, 0.125], np.float32))


@pytest.mark.parametrize(
    ("uniform", "inverse", "due", "excused"),
    [
        (0.49, 1, 0, [0]),
        (0.51, 1, 1, [1]),
        (0.76, 1, 2, [2]),
        (0.99, 1, 3, [3]),
        (0.5 - 1e-6, 1, 0, [0, 1]),
        (0.5 + 1e-6, 1, 1, [0, 1]),
        (0.5 + 1e-4, 1, 1, [1]),
        (0.3, 0.001, 1, [1]),
        (2**-24, GREEDY, 0, [0]),
        # A hundredfold inverse temperature magnifies what the logits are off.
        (1 - 1e-3, 100, 0, [0, 1, 2, 3]),
        (1 - 3e-3, 100, 0, [0]),
    ],
)
def test_the_character_that_is_due_and_those_that_rounding_explains(
    uniform: float, inverse: float, due: int, excused: list[int]
) -> None:
    for drawn in range(4):
        found, fine = due_tokens(
            SHARES[None, None],
            np.array([inverse], np.float32),
            np.array([[uniform]], np.float32),
            np.array([[drawn]]),
        )
        assert found.item() == due
        assert fine.item() == (drawn in excused)


def test_greedy_choice_is_excused_between_logits_that_are_nearly_equal() -> None:
    logits = np.array([1.0, 1.0 + 1e-5, 0.999], np.float32)[None, None].repeat(3, axis=1)
    uniform = np.full((1, 3), 2**-24, np.float32)
    given = logits, np.array([GREEDY], np.float32), uniform, np.array([[0, 1, 2]])
    assert due_tokens(*given)[1].tolist() == [[True, True, False]]


def test_what_is_due_agrees_with_the_sampler_of_the_step_loop() -> None:
    """Written apart from each other; where float32 decides otherwise, a near-tie excuses it."""
    random = np.random.RandomState(0)
    batch, steps, size = 84, 40, 30
    logits = (random.standard_normal((batch, steps, size)) * 3).astype(np.float32)
    uniform = ((random.randint(0, 1 << 23, (batch, steps)) + 0.5) * 2**-23).astype(np.float32)
    temperatures = [(1.0, 0.7, 0.3, 1.5)[stream % 4] for stream in range(batch)]
    numbers = [UniformStream(0, 0)] * len(temperatures)
    sampling = Sampling.of([(each, NO_FILTERS) for each in temperatures], size, numbers)
    drawn = np.stack(
        [Sampler(logits[:, at].copy(), sampling).draw(uniform[:, at]) for at in range(steps)],
        axis=1,
    )
    due, excused = due_tokens(logits, 1 / np.float32(temperatures), uniform, drawn)
    assert excused.all()
    assert (due != drawn).sum() <= 3


def test_runs_are_of_many_lengths_and_follow_one_another() -> None:
    found = runs(1000, 62)
    assert [each.stop - each.start for each in found[:5]] == [1, 7, 64, 128, 1]
    assert [each.start for each in found] == [0, *(each.stop for each in found[:-1])]
    assert found[-1].stop == 1000
    assert max(each.stop - each.start for each in runs(1000, 50_000)) < 10
