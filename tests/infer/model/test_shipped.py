"""The model that ships, against Torch and against what its metadata promise."""

import itertools
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch

from charlm.data.system.errors import ModelFileError
from charlm.data.text.corpus import SAMPLE
from charlm.data.text.normalise import NOTEBOOK
from charlm.export import weights
from charlm.export.contract import KINDS, LARGEST_LOSS, NATIVE
from charlm.infer.generator import Generator
from charlm.infer.model import shipped
from charlm.infer.model.open import open_model
from charlm.infer.sampling.filters import Filters
from charlm.infer.sampling.philox import UniformStream
from charlm.infer.scoring.score import Scorer
from charlm.train.model import CharLSTM

Floats = npt.NDArray[np.float32]

PROMPT = "when i drew nigh the nameless city i kne"
GREEDY = (
    "w that the strange stone was the strange stone and the stran"
    "ge stone and the strange stone and the strange stone and the"
)
PASSAGE = (
    "The most merciful thing in the world, I think, is the inability of the human mind to "
    "correlate all its contents. We live on a placid island of ignorance in the midst of black "
    "seas of infinity, and it was not meant that we should voyage far."
)


@pytest.fixture(scope="module")
def lovecraft_torch() -> CharLSTM:
    found, _ = weights.from_graph(shipped.shipped_model().read_bytes(), "lovecraft.onnx")
    return weights.to_torch(found)


def test_a_folder_stands_for_the_model_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "a run"
    run.mkdir()
    with pytest.raises(ModelFileError, match=r"charlm-export '.*a run/model.onnx' --run '.*a run'"):
        shipped.find_model(run)
    (run / "model.onnx").touch()
    assert shipped.find_model(run) == run / "model.onnx"
    monkeypatch.chdir(run)
    assert shipped.find_model(Path()) == Path("model.onnx")


def test_it_is_the_model_that_was_promised(lovecraft: Generator) -> None:
    metadata = lovecraft.metadata
    assert (metadata.hidden, metadata.layers, len(metadata.vocabulary)) == (192, 1, 62)
    assert metadata.normalisation == NOTEBOOK
    assert metadata.summary["results"]["test_bits_per_character"] <= 1.98
    assert shipped.shipped_model().stat().st_size < 1_000_000
    assert metadata.initial[metadata.vocabulary.id_of(" ")] == max(metadata.initial)
    assert sum(metadata.initial) == pytest.approx(1)


def test_its_json_repeats_its_metadata(lovecraft: Generator) -> None:
    beside = shipped.shipped_model().with_suffix(".json")
    assert beside.read_text(encoding="utf-8") == lovecraft.metadata.to_json()


def test_it_is_a_whole_graph_of_the_contract() -> None:
    model = onnx.load_model(shipped.shipped_model())
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8
    assert [entry.version for entry in model.opset_import] == [17]


def test_it_knows_english_of_its_kind(lovecraft: Generator) -> None:
    """Prose as it was trained on costs about two bits; the same letters, shuffled, far more."""
    scorer = Scorer(lovecraft.model)
    assert scorer.score([PASSAGE]).bits_per_character < 2.3
    shuffled = "".join(np.random.RandomState(0).permutation(list(PASSAGE)))
    assert scorer.score([shuffled]).bits_per_character > 4


def test_greedy_text_is_golden_and_that_of_torch(
    lovecraft: Generator, lovecraft_torch: CharLSTM
) -> None:
    text, state = PROMPT, lovecraft_torch.zero_state(1)
    vocabulary = lovecraft.vocabulary
    with torch.no_grad():
        for position in range(len(PROMPT) + len(GREEDY) - 1):
            token = torch.tensor([vocabulary.id_of(text[position])])
            logits, state = lovecraft_torch.step(token, state)
            if position >= len(PROMPT) - 1:
                text += vocabulary.characters[int(logits[0].argmax())]
    assert lovecraft.text(PROMPT, length=len(GREEDY), temperature=0) == GREEDY
    assert text == PROMPT + GREEDY


@pytest.mark.parametrize(
    ("temperature", "filters"),
    [
        (0.5, Filters()),
        (1.0, Filters()),
        (1.5, Filters()),
        (1.0, Filters(top_k=5)),
        (1.5, Filters(top_p=0.8)),
        (1.0, Filters(min_p=0.05)),
        (1.5, Filters(top_k=20, top_p=0.95, min_p=0.02)),
    ],
)
def test_texts_are_those_of_torch_but_for_near_ties(
    lovecraft: Generator,
    lovecraft_torch: CharLSTM,
    torch_logits: Callable[[CharLSTM, str, str], Floats],
    count_flips: Callable[..., int],
    temperature: float,
    filters: Filters,
) -> None:
    length = 8000
    characters = "".join(lovecraft.vocabulary.characters)
    text = lovecraft.text(PROMPT, length=length, temperature=temperature, seed=1, **asdict(filters))
    uniforms = np.array(list(itertools.islice(UniformStream(1, 0), length)))
    logits = torch_logits(lovecraft_torch, characters, PROMPT + text[:-1])[len(PROMPT) - 1 :]
    drawn = [characters.index(c) for c in text]
    assert count_flips(logits, drawn, uniforms, temperature, filters) <= 2


def test_default_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped.default_model() == shipped.shipped_model()
    assert shipped.describe(shipped.default_model()) == (
        "the Lovecraft model that ships with charlm"
    )
    (tmp_path / "model.onnx").mkdir()
    assert shipped.default_model() == shipped.shipped_model()
    (tmp_path / "model.onnx").rmdir()
    (tmp_path / "model.onnx").touch()
    assert shipped.default_model() == Path("model.onnx")
    assert shipped.describe(shipped.default_model()) == "model.onnx"


def test_models_that_ship_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped.find_model(None) == shipped.shipped_model()
    assert shipped.find_model(Path("lovecraft")) == shipped.shipped_model("lovecraft")
    large = shipped.find_model(Path("lovecraft-large"))
    assert large == shipped.shipped_model("lovecraft-large")
    assert shipped.describe(large) == "lovecraft-large, which ships with charlm"
    for name in ("lovecrft", "other.onnx", "there/other.onnx"):
        with pytest.raises(ModelFileError, match=f"no model {name}: .* lovecraft or lovecraft-lar"):
            shipped.find_model(Path(name))
    (tmp_path / "lovecraft-large").touch()
    assert shipped.find_model(Path("lovecraft-large")) == Path("lovecraft-large")


def test_a_sibling_is_no_model() -> None:
    with pytest.raises(
        ModelFileError, match=r"kind 'sequence', .* name the model, lovecraft\.onnx"
    ):
        open_model(shipped.FOLDER / "lovecraft.sequence.onnx")


def test_the_large_one_is_what_was_promised_and_reads_better(lovecraft: Generator) -> None:
    path = shipped.shipped_model("lovecraft-large")
    large = Generator.open(path, "cpu")
    metadata = large.metadata
    assert (metadata.hidden, metadata.layers) == (384, 1)
    assert metadata.vocabulary == lovecraft.metadata.vocabulary
    assert metadata.summary["results"]["test_bits_per_character"] <= 1.85
    assert path.with_suffix(".json").read_text(encoding="utf-8") == metadata.to_json()
    bits = [Scorer(each.model).score([PASSAGE]).bits_per_character for each in (large, lovecraft)]
    assert bits[0] < bits[1]
    steps = Generator(large.model, via="steps").text(PROMPT, length=200, seed=3)
    assert large.text(PROMPT, length=200, seed=3) == steps


def test_an_incomplete_installation_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    with pytest.raises(ModelFileError, match="reinstall charlm"):
        shipped.shipped_model()


def test_every_sibling_stands_beside_it_and_opens() -> None:
    """All but the native one, which is made when it is wanted."""
    model = open_model(shipped.shipped_model(), "cpu")
    for kind in KINDS.values():
        assert model.has(kind) == (kind != NATIVE)
        if kind != NATIVE:
            model.sibling(kind)


@pytest.mark.parametrize("name", ["lovecraft", "lovecraft-large"])
def test_int8_costs_no_more_than_is_allowed(name: str) -> None:
    """As its file says of the corpus's last 5 %, and here on the sample that ships."""
    model = open_model(shipped.shipped_model(name), "cpu")
    quality = model.metadata.quality["int8"]
    assert quality["loss"] <= LARGEST_LOSS
    assert "144,132 characters" in quality["measured_on"]
    text = SAMPLE.read_text(encoding="utf-8")[:20_000]
    float32, int8 = (
        Scorer(model, "drop", precision).score([text]).bits_per_character
        for precision in ("float32", "int8")
    )
    assert float32 != int8
    assert int8 - float32 <= LARGEST_LOSS
