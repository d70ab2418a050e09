"""The proofs of a model's files: each graph gives the Torch model's numbers, step after step.

At several batch sizes, from Torch's own state and from the state that the graph carries itself.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from charlm.data.system.errors import ExportError, ModelFileError
from charlm.data.text.vocabulary import Vocabulary
from charlm.export import contract
from charlm.export.contract import Kind, Metadata
from charlm.export.proof.errors import Errors, Proof
from charlm.export.proof.sessions import (
    Drawer,
    GenaiGraph,
    GenerateGraph,
    NativeGraph,
    Reader,
    SequenceGraph,
    carried,
    open_session,
    run,
    zero_state,
)
from charlm.export.proof.texts import (
    BATCHES,
    SINGLE,
    Arrays,
    Floats,
    Ids,
    Texts,
    check_finite,
    draw_texts,
    one_thread,
    runs,
    state_after,
)
from charlm.train.model import CharLSTM

NEAR = 2e-5  # times max(1, 1/T): so near its share u excuses another choice than the one due
# 1/T of the streams of a graph that draws, in turn.
INVERSE_TEMPERATURES = (1.0, contract.GREEDY, 1 / 0.7, 1 / 0.3, 1 / 1.5)

GRAPHS = {
    contract.NATIVE: NativeGraph,
    contract.GENERATE: GenerateGraph,
    contract.SEQUENCE: SequenceGraph,
}


def prove_step(
    content: bytes, model: CharLSTM, metadata: Metadata, where: str, steps: int
) -> tuple[Proof, Texts]:
    """Run a step graph beside the Torch model and compare logits, h and c at every step.

    Args:
        content: the serialised graph, its weights within; run by ONNX Runtime on the CPU.
        model: the model that it must equal, on the CPU.

    Returns:
        What was found, and the texts on which it was, to prove siblings by.

    Raises:
        ModelFileError: ONNX Runtime can't load the graph, or it is no step graph of this size.
        ExportError: an error is above its tolerance, or a number is not finite; the message says
            where and how large.
    """
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise ExportError(f"{where}: the model's weights hold numbers that are not finite")
    session = open_session(content, where)
    with contract.runtime_errors_as(ModelFileError, f"{where}: its names can't be read"):
        contract.check_tensors(session, contract.STEP, metadata, where)
    single, many = Errors(), Errors()
    own: dict[int, Arrays] = {}

    def compare(token: Ids, before: Arrays, after: Arrays) -> None:
        for batch in BATCHES:
            wanted, start = _first(batch, after), _first(batch, before)
            feed = {contract.TOKEN: token[:batch]}
            with contract.runtime_errors_as(
                ExportError, f"{where}: a step of {batch} streams failed"
            ):
                single.add(run(session, tuple(after), feed | start), wanted)
                found = run(session, tuple(after), feed | own.get(batch, start))
            many.add(found, wanted)
            own[batch] = carried(found)

    with one_thread():
        texts = draw_texts(model, steps, compare)
    proof = Proof(single.relative(), many.relative(), steps)
    proof.check("the graph")
    return proof, texts


def prove_siblings(
    contents: Mapping[Kind, bytes],
    model: CharLSTM,
    metadata: Metadata,
    texts: Texts,
    names: Mapping[Kind, str],
) -> dict[Kind, Proof]:
    """Run each graph beside the Torch model, whose step graph has been proven.

    Raises:
        ModelFileError: ONNX Runtime can't load a graph, or it is none of its kind and weights.
        ExportError: it does not equal the Torch model; the message says where and how far.
    """
    return {
        kind: _prove_sibling(kind, content, model, metadata, texts, names[kind])
        for kind, content in contents.items()
    }


def prove_genai(content: bytes, metadata: Metadata, texts: Texts, where: str) -> Proof:
    """Let the graph of `genai_graph` read the Torch model's texts; see `prove_siblings`."""
    graph, single, many = GenaiGraph(content, where), Errors(), Errors()
    with contract.runtime_errors_as(ExportError, f"{where}: a run of it failed"):
        for batch in BATCHES:
            _read(graph, texts, metadata, batch, single, many)
    proof = Proof(single.relative(), many.relative(), texts.steps)
    proof.check(where)
    return proof


def _prove_sibling(
    kind: Kind, content: bytes, model: CharLSTM, metadata: Metadata, texts: Texts, where: str
) -> Proof:
    graph: Any = GRAPHS[kind](content, where)
    contract.check_sibling(graph.session, kind, metadata, where)
    single, many, flips = Errors(), Errors(), 0
    with contract.runtime_errors_as(ExportError, f"{where}: a run of it failed"), one_thread():
        for batch in BATCHES:
            if kind != contract.GENERATE:
                _read(graph, texts, metadata, batch, single, many)
            if kind != contract.SEQUENCE:
                flips += _draw(graph, model, metadata, texts.steps, batch, many, where)
                _draw_singly(graph, model, batch, single)
    drawn = 0 if kind == contract.SEQUENCE else sum(BATCHES) * texts.steps
    proof = Proof(single.relative(), many.relative(), texts.steps, drawn, flips)
    proof.check(where)
    return proof


def _read(
    graph: Reader, texts: Texts, metadata: Metadata, batch: int, single: Errors, many: Errors
) -> None:
    """Let a graph read the first texts, run after run, and single characters of them."""

    def compare(errors: Errors, piece: slice, state: Arrays) -> Arrays:
        ids = texts.tokens[:batch, piece.start : piece.stop + 1]
        wanted = {contract.LOG_PROBABILITY: texts.log_probability[:batch, piece]}
        found = graph.read(ids, state)
        errors.add(found, wanted | _first(batch, texts.after[piece.stop]))
        return carried(found)

    state = zero_state(batch, metadata)
    for piece in runs(texts.steps, len(metadata.vocabulary)):
        state = compare(many, piece, state)
    for start in range(1, min(SINGLE, texts.steps - 1) + 1):
        state = carried(_first(batch, texts.after[start]))
        compare(single, slice(start, start + 1), state)


@torch.no_grad()
def _draw(
    graph: Drawer,
    model: CharLSTM,
    metadata: Metadata,
    steps: int,
    batch: int,
    many: Errors,
    where: str,
) -> int:
    """Let a graph draw, run after run, and Torch read it: how many tokens near-ties excuse.

    Raises:
        ExportError: a token is another than the one due.
    """
    vocabulary, flips = metadata.vocabulary, 0
    torch_state, state = model.zero_state(batch), zero_state(batch, metadata)
    for turn, piece in enumerate(runs(steps, len(vocabulary))):
        inverse = _inverse_temperatures(batch, turn)
        uniform, tokens, after = graph.draw(state, inverse, piece.stop - piece.start)
        if tokens.shape != uniform.shape or tokens.max() >= len(vocabulary):
            raise ExportError(f"{where} gives tokens that are no characters of the model")
        top = torch_state[0][-1:]
        hidden, torch_state = model(torch.from_numpy(tokens.T.copy()), torch_state)
        logits = model.head(torch.cat((top, hidden[:-1]))).transpose(0, 1)
        check_finite(logits)
        due, excused = due_tokens(logits.numpy(), inverse, uniform, tokens)
        _check_drawn(tokens, due, excused, piece.start, vocabulary, where)
        flips += int((due != tokens).sum())
        many.add(after, state_after(torch_state))
        state = carried(after)
    return flips


def due_tokens(logits: Floats, inverse: Floats, uniform: Floats, tokens: Ids) -> tuple[Ids, Any]:
    """By sampling version 1, in float64: the tokens that are due, and whether those drawn may be.

    float32 sums may cross a boundary that lies within a hair of the number drawn.

    Args:
        logits: [batch, steps, vocabulary].
        inverse: 1/T, [batch].
        uniform: [batch, steps].
        tokens: those drawn, [batch, steps].
    """
    below = logits.astype(np.float64)
    below -= below.max(axis=2, keepdims=True)
    shares = np.exp(below * inverse[:, None, None].astype(np.float64))
    shares /= shares.sum(axis=2, keepdims=True)
    sums = shares.cumsum(axis=2)
    due = (sums >= uniform[:, :, None] * sums[:, :, -1:]).argmax(axis=2)

    def drawn(array: Any) -> Any:
        return np.take_along_axis(array, tokens[:, :, None], axis=2)[:, :, 0]

    slack = NEAR * np.maximum(1, inverse)[:, None]
    upper, share = drawn(sums), drawn(shares)
    excused = (share > 0) & (upper - share - slack <= uniform) & (uniform <= upper + slack)
    greedy = (inverse == contract.GREEDY)[:, None]
    return due, (due == tokens) | np.where(greedy, drawn(below) >= -NEAR, excused)


def _check_drawn(
    tokens: Ids, due: Ids, excused: Any, position: int, vocabulary: Vocabulary, where: str
) -> None:
    for stream, step in np.argwhere(~excused):
        drawn, wanted = (vocabulary.characters[each[stream, step]] for each in (tokens, due))
        raise ExportError(
            f"{where} does not draw as the Torch model would: character {position + step + 1} of "
            f"stream {stream + 1} of {len(tokens)} is {drawn!r}, and {wanted!r} was due"
        )


@torch.no_grad()
def _draw_singly(graph: Drawer, model: CharLSTM, batch: int, single: Errors) -> None:
    """Compare h and c after runs of one step, each from Torch's own state."""
    state = model.zero_state(batch)
    for turn in range(SINGLE):
        before = carried(state_after(state))
        _, tokens, after = graph.draw(before, _inverse_temperatures(batch, turn), 1)
        _, state = model.step(torch.from_numpy(tokens[:, 0]), state)
        single.add(after, state_after(state))


def _inverse_temperatures(batch: int, turn: int) -> Floats:
    """Streams that differ from one another, and from themselves in the next turn."""
    places = np.arange(turn, turn + batch) % len(INVERSE_TEMPERATURES)
    return np.array(INVERSE_TEMPERATURES, dtype=np.float32)[places]


def _first(batch: int, arrays: Arrays) -> Arrays:
    return {name: array[:batch] for name, array in arrays.items()}
