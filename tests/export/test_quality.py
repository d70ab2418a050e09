"""What a smaller precision costs: measured on the right characters, refused above a bound."""

import contextlib
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from charlm.data.system.errors import CorpusError, ExportError, VocabularyError
from charlm.export import quality, weights
from charlm.export.contract import NATIVE, Metadata
from charlm.export.graphs import build_siblings, sequence_graph
from charlm.export.proof.sessions import SequenceGraph
from charlm.export.quality import Quality
from charlm.train.model import CharLSTM

Make = Callable[..., CharLSTM]
Describe = Callable[[CharLSTM], Metadata]
TEXT = "a bad cab hid a kid big face "


@pytest.fixture
def graph(metadata_of: Describe) -> Callable[[CharLSTM], SequenceGraph]:
    def start(model: CharLSTM) -> SequenceGraph:
        content = sequence_graph.build(weights.from_torch(model), metadata_of(model))
        return SequenceGraph(content, "it")

    return start


def torch_bits(model: CharLSTM, ids: torch.Tensor) -> float:
    """Mean bits of all characters but the first of each row."""
    with torch.no_grad():
        hidden, _ = model(ids[:, :-1].T.contiguous(), model.zero_state(len(ids)))
        shares = model.head(hidden).log_softmax(dim=-1)
        found = shares.gather(2, ids[:, 1:].T[:, :, None])
    return -float(found.double().mean()) / math.log(2)


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("length", [2, 65, 200])
def test_bits_per_character_are_torchs_over_all_segments(
    make_model: Make,
    metadata_of: Describe,
    graph: Callable[[CharLSTM], SequenceGraph],
    pieces: int,
    length: int,
) -> None:
    model = make_model(scale=2.0)
    ids = np.random.RandomState(0).randint(0, 12, (pieces, length))
    found = quality.bits_per_character(graph(model), ids, metadata_of(model), segment=64)
    assert found == pytest.approx(torch_bits(model, torch.from_numpy(ids)), abs=1e-5)


def test_without_a_text_the_model_draws_one_always_the_same(
    make_model: Make,
    metadata_of: Describe,
    graph: Callable[[CharLSTM], SequenceGraph],
) -> None:
    model = make_model(scale=3.0)
    first = quality.draw_sample(weights.from_torch(model), metadata_of(model))
    again = quality.draw_sample(weights.from_torch(model), metadata_of(model))
    assert first.ids.shape == (64, 1024)
    np.testing.assert_array_equal(first.ids, again.ids)
    assert first.origin == "65,536 characters that it draws itself"
    assert len({row.tobytes() for row in first.ids}) == 64
    # Its own text costs a model its own entropy: the mean over all it could have drawn.
    ids = torch.from_numpy(first.ids)
    with torch.no_grad():
        hidden, _ = model(ids[:, :-1].T.contiguous(), model.zero_state(64))
        shares = model.head(hidden).log_softmax(dim=-1)
        entropy = -float((shares.exp() * shares).sum(2).double().mean()) / math.log(2)
    found = quality.bits_per_character(graph(model), first.ids, metadata_of(model))
    assert found == pytest.approx(entropy, abs=0.02)


def test_a_text_is_normalised_as_the_corpus_was(
    make_model: Make, metadata_of: Describe, tmp_path: Path
) -> None:
    file = tmp_path / "held-out.txt"
    file.write_text("A Bad\n Cab " * 100, encoding="utf-8")
    metadata = metadata_of(make_model())
    sample = quality.read_sample(file, metadata)
    assert metadata.vocabulary.decode(sample.ids[0]) == "a bad cab " * 100
    assert sample.origin == "1,000 characters of held-out.txt"


@pytest.mark.parametrize(
    ("characters", "shape", "first"),
    [(99, (1, 99), ""), (199, (1, 199), ""), (250, (2, 125), ""), (999, (3, 100), "the first ")],
)
def test_a_long_text_is_read_in_pieces_side_by_side(
    monkeypatch: pytest.MonkeyPatch,
    make_model: Make,
    metadata_of: Describe,
    tmp_path: Path,
    characters: int,
    shape: tuple[int, int],
    first: str,
) -> None:
    monkeypatch.setattr(quality, "LEAST", 2)
    text = (TEXT * 40)[:characters]
    file = tmp_path / "held-out.txt"
    file.write_text(text, encoding="utf-8")
    metadata = metadata_of(make_model())
    sample = quality.read_sample(file, metadata, piece=100, most_pieces=3)
    assert sample.ids.shape == shape
    assert metadata.vocabulary.decode(sample.ids.ravel()) == text[: sample.ids.size]
    assert sample.origin == f"{first}{sample.ids.size} characters of held-out.txt"


def test_a_text_that_cant_be_measured_on_is_refused(
    make_model: Make, metadata_of: Describe, tmp_path: Path
) -> None:
    metadata = metadata_of(make_model())
    file = tmp_path / "text.txt"
    with pytest.raises(CorpusError, match=r"can't read .*text\.txt"):
        quality.read_sample(file, metadata)
    for characters in (0, 1, 30, 999):  # on which an error of measure is called a loss
        file.write_text("a" * characters, encoding="utf-8")
        said = rf"text\.txt: too short to measure on: it has {characters} .* takes 1,000$"
        with pytest.raises(CorpusError, match=said):
            quality.read_sample(file, metadata)
    file.write_text("a cab, " * 3, encoding="utf-8")
    with pytest.raises(
        VocabularyError, match=r"text\.txt: character ',' \(U\+002C\) at position 5"
    ):
        quality.read_sample(file, metadata)


@pytest.mark.parametrize(
    ("after", "fine"), [(2.0, True), (2.0099, True), (2.011, False), (math.nan, False)]
)
def test_a_loss_above_a_hundredth_is_refused(after: float, fine: bool) -> None:
    said = (
        r"^m\.onnx: int8 would take it from 2\.0000 to .* \(9 characters of a\.txt\), .* 0\.01 is"
    )
    with contextlib.nullcontext() if fine else pytest.raises(ExportError, match=said):
        Quality(2.0, after, "9 characters of a.txt").check("int8", "m.onnx")


@pytest.mark.parametrize("layers", [1, 2])
def test_weights_that_bytes_cant_hold_are_refused(
    make_model: Make,
    metadata_of: Describe,
    spoil_for_int8: Callable[[CharLSTM], CharLSTM],
    layers: int,
) -> None:
    model, metadata = make_model(layers=layers, scale=3.0), metadata_of(make_model(layers=layers))
    fine = loss_of(model, metadata)
    assert 0 < abs(fine.loss) <= 0.01
    fine.check("int8", "m.onnx")
    with pytest.raises(ExportError, match=r"^m\.onnx: int8 would take it from \d\.\d+ to"):
        loss_of(spoil_for_int8(model), metadata).check("int8", "m.onnx")


def loss_of(model: CharLSTM, metadata: Metadata) -> Quality:
    laid_out = weights.from_torch(model)
    (content,) = build_siblings(laid_out, metadata, [NATIVE]).values()
    text = quality.draw_sample(laid_out, metadata, length=64)
    return quality.measure(content, "int8", text, metadata, "m.onnx")
