"""The search's trials: their language, their models, and their table."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from charlm.benchmarks.search import table, trial, variant
from charlm.benchmarks.search.__main__ import app
from charlm.benchmarks.search.network import Network
from charlm.benchmarks.search.variant import Result, Variant
from charlm.data.corpus import Corpus, read_corpus
from charlm.data.errors import SettingsError
from charlm.data.normalise import NOTEBOOK
from charlm.train.config import ModelConfig
from charlm.train.model import CharLSTM

SMALL = "hidden=16,epochs=1,batch=4,window=16"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    text = tmp_path_factory.mktemp("corpus") / "text.txt"
    text.write_text("the lamp went out and the door was open; nobody came. " * 60)
    return read_corpus([text], NOTEBOOK)


def test_a_variant_is_read_and_written_in_the_same_words() -> None:
    text = "hidden=64,embedding=8,tied=True,norm=cell,lr=0.01"
    assert str(variant.parse(text)) == text
    assert variant.parse(text) == Variant(64, embedding=8, tied=True, norm="cell", lr=0.01)
    assert str(variant.parse("defaults")) == "defaults"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("size=3", "size: no setting"),
        ("hidden=many", "hidden=many: not a value of int"),
        ("tied=yes", "tied=yes: not a value of bool"),
        ("norm=batch", "norm=batch: one of none, output, cell"),
        ("epochs=0", "epochs=0: it is above 0"),
        ("lr=-1", "lr=-1.0: it is above 0"),
        ("drop_output=1", "drop_output=1.0: it is at least 0 and below 1"),
        ("beta2=1", "beta2=1.0: it is at least 0 and below 1"),
        ("weight_decay=-1", "weight_decay=-1.0: it is at least 0"),
        ("tied=True", "tied=True: there is no embedding to tie to"),
        ("norm=output,drop_head=0.2", "drop_head=0.2: only of a head that is one matrix"),
        ("norm=cell,layers=2", "norm=cell,layers=2: norm=cell has one layer only"),
    ],
)
def test_what_no_variant_has_is_named(text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        variant.parse(text)


@pytest.fixture(scope="module")
def untrained_bits(corpus: Corpus) -> float:
    return trial.run(
        corpus, variant.parse(f"{SMALL},lr=1e-12,muon_lr=1e-12"), 1, test=False
    ).validation_bits


@pytest.mark.parametrize(
    "changed",
    [
        "optimiser=adam,weight_decay=0.01",
        "optimiser=muon-whole,schedule=linear,warm_up=0.1",
        "norm=output,drop_output=0.1,schedule=hold",
        "norm=cell,embedding=8,tied=True",
        "layers=2,drop_recurrent=0.1,drop_input=0.1,drop_locked=0.1",
        "drop_head=0.1,weight_decay=0.01",
        "average=0.9,reset=random,rotate=True,epochs=2",
    ],
)
def test_every_kind_of_trial_learns(corpus: Corpus, untrained_bits: float, changed: str) -> None:
    given = {part.partition("=")[0]: part for part in f"{SMALL},lr=0.02,{changed}".split(",")}
    result = trial.run(corpus, variant.parse(",".join(given.values())), 1, test=True)
    assert result.validation_bits < untrained_bits - 0.3
    assert result.test_bits is not None


def test_the_plain_network_is_the_products_model() -> None:
    network, model = Network(Variant(hidden=16), 5), CharLSTM(ModelConfig(5, 16))
    for each in (network, model):
        each.initialise(torch.Generator().manual_seed(3))
    tokens = torch.arange(5).repeat(4)[:, None]
    ours, theirs = (m.head(m(tokens, m.zero_state(1))[0]) for m in (network, model))
    assert torch.equal(ours, theirs)


def test_many_characters_are_indexed_as_the_products_are() -> None:
    network, model = Network(Variant(hidden=4), 20), CharLSTM(ModelConfig(20, 4))
    for each in (network, model):
        each.initialise(torch.Generator().manual_seed(3))
    tokens = torch.arange(20)[:, None]
    ours, theirs = (m.logits(m(tokens, m.zero_state(1))[0]) for m in (network, model))
    assert torch.equal(ours, theirs)


def test_all_that_is_not_learnt_judges(corpus: Corpus) -> None:
    tiny, ids = variant.parse(SMALL), corpus.ids
    other = ids.copy()
    other[-5:] = other[-5:][::-1]
    found, changed = (
        trial.run(replace(corpus, ids=each), tiny, 1, test=False, learnt=40)
        for each in (ids, other)
    )
    assert found.train_bits == changed.train_bits
    assert found.validation_bits != changed.validation_bits
    assert (found.learnt, found.test_bits) == (40, None)


@pytest.mark.parametrize(
    "said", [["--learnt", "0"], ["--learnt", "91"], ["--learnt", "40", "--test"]]
)
def test_a_share_to_learn_from_that_is_none(said: list[str]) -> None:
    result = CliRunner().invoke(app, ["run", "t.txt", "defaults", "--records", "r.jsonl", *said])
    assert isinstance(result.exception, SettingsError)
    assert "--learnt is from 1 to 90" in str(result.exception)


def test_dropout_is_for_training_alone() -> None:
    network = Network(Variant(hidden=16, drop_locked=0.5, drop_recurrent=0.5, drop_input=0.5), 5)
    network.initialise(torch.Generator().manual_seed(3))
    tokens = torch.arange(5)[:, None]
    first, second = (network(tokens, network.zero_state(1))[0] for _ in range(2))
    assert not torch.equal(first, second)
    network.eval()
    first, second = (network(tokens, network.zero_state(1))[0] for _ in range(2))
    assert torch.equal(first, second)


def test_results_are_read_back_and_tabled(tmp_path: Path) -> None:
    result = Result(Variant(lr=0.5, seed=2, epochs=3), 2.0, 2.1, None, 12.34, "a CPU", 1000)
    variant.append(tmp_path / "results.jsonl", result)
    assert variant.read(tmp_path / "results.jsonl") == [result]
    row = table.as_markdown([result]).splitlines()[-1]
    assert row == "| lr=0.5 | 3 | 2 | 1,000 | 12 | 2.0000 | 2.1000 |  |"


def test_a_file_that_has_no_results_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("once upon a time")
    with pytest.raises(SettingsError, match=r"text\.txt: no results of a search"):
        variant.read(tmp_path / "text.txt")
    with pytest.raises(SettingsError, match="can't read"):
        variant.read(tmp_path / "missing.jsonl")
