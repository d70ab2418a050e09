import itertools
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from charlm.data.system.errors import ModelFileError, SettingsError, VocabularyError
from charlm.data.text.normalise import Normalisation
from charlm.infer import generator
from charlm.infer.batch.results import Result
from charlm.infer.engines.planning import Work, reader_of
from charlm.infer.engines.step import Stepper
from charlm.infer.generator import Generator
from charlm.infer.model import providers
from charlm.infer.model.open import Model
from charlm.infer.request import Request
from charlm.infer.sampling import draw
from charlm.infer.sampling.philox import UniformStream
from charlm.train.model import CharLSTM

Floats = npt.NDArray[np.float32]
ChiSquare = Callable[[npt.ArrayLike, npt.ArrayLike], tuple[float, float]]

# The small model's greedy text after "a", for Torch and for ONNX Runtime.
GREEDY = "pgmpgmpmpgmzggémégmgmmmm"
FILTERED = [
    {"top_k": 3},
    {"top_p": 0.7},
    {"min_p": 0.1},
    {"top_k": 10, "top_p": 0.9, "min_p": 0.05},
]


def first_uniforms(seed: int, stream: int, count: int) -> Floats:
    return np.array(list(itertools.islice(UniformStream(seed, stream), count)))


def side_by_side(generator: Generator, prompt: str, count: int, **settings: Any) -> list[str]:
    """Samples of a prompt as a batch draws them."""
    requests = [Request(prompt, sample=stream, **settings) for stream in range(count)]
    return [each.text for each in generator.batch(requests) if isinstance(each, Result)]


@pytest.mark.parametrize("prompt", ["", "a", "the nameless city"])
@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0])
def test_text_stream_pieces_and_batch_agree(
    small: Generator, prompt: str, temperature: float
) -> None:
    options: dict[str, Any] = {"length": 60, "temperature": temperature, "seed": 9}
    rows = side_by_side(small, prompt, 3, **options)
    for stream, row in enumerate(rows):
        text = small.text(prompt, sample=stream, **options)
        assert len(text) == 60
        assert [*small.stream(prompt, sample=stream, **options)] == [*text]
        assert small.text(prompt, sample=stream, **options) == text
        assert row == text
    assert len(set(rows)) == (3 if temperature else 1)


@pytest.mark.parametrize("settings", FILTERED)
def test_greedy_is_greedy_whatever_the_filters(small: Generator, settings: dict[str, Any]) -> None:
    assert small.text("a", length=len(GREEDY), temperature=0, **settings) == GREEDY


def test_the_likeliest_alone_is_greedy(small: Generator) -> None:
    for settings in ({"top_k": 1}, {"top_p": 1e-30}, {"min_p": 1.0}):
        assert small.text("a", length=len(GREEDY), seed=4, **settings) == GREEDY


def test_a_text_depends_on_seed_and_stream(small: Generator) -> None:
    texts = {
        (seed, stream): small.text("a", length=40, seed=seed, sample=stream)
        for seed in (0, 1, 2**64 - 1)
        for stream in (0, 1)
    }
    assert len(set(texts.values())) == 6
    for (seed, stream), text in texts.items():
        assert small.text("a", length=40, seed=seed, sample=stream) == text


def test_streams_read_in_turn_do_not_disturb_each_other(small: Generator) -> None:
    prompts = ("a", "", "the city")
    alone = [small.text(prompt, length=80, seed=4) for prompt in prompts]
    streams = [small.stream(prompt, length=80, seed=4) for prompt in prompts]
    together = ["".join(column) for column in zip(*zip(*streams, strict=True), strict=True)]
    assert together == alone


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("prompt", ["", "the city"])
def test_texts_are_those_of_torch_but_for_near_ties(
    small: Generator,
    small_torch: CharLSTM,
    torch_logits: Callable[[CharLSTM, str, str], Floats],
    count_flips: Callable[..., int],
    prompt: str,
    temperature: float,
) -> None:
    """Torch is fed the text that ONNX Runtime drew, and draws with the same numbers.

    So this holds the numbering of positions too: the t-th drawn character uses word t.
    """
    length = 3000
    characters = "".join(small.vocabulary.characters)
    text = small.text(prompt, length=length, temperature=temperature, seed=11)
    uniforms = first_uniforms(11, 0, length)
    drawn = [characters.index(c) for c in text]
    if not prompt:
        initial = np.array(small.metadata.initial, dtype=np.float32)
        assert drawn[0] == draw.draw_first(initial, UniformStream(11, 0), temperature)
        prompt, text = text[0], text[1:]
        drawn, uniforms = drawn[1:], uniforms[1:]
    logits = torch_logits(small_torch, characters, prompt + text[:-1])[len(prompt) - 1 :]
    assert count_flips(logits, drawn, uniforms, temperature) <= 2


def test_greedy_text_is_golden_and_that_of_torch(small: Generator, small_torch: CharLSTM) -> None:
    characters = "".join(small.vocabulary.characters)
    text, state = "a", small_torch.zero_state(1)
    with torch.no_grad():
        for _ in GREEDY:
            token = torch.tensor([characters.index(text[-1])])
            logits, state = small_torch.step(token, state)
            text += characters[int(logits[0].argmax())]
    assert text[1:] == GREEDY
    assert small.text("a", length=len(GREEDY), temperature=0) == GREEDY


def test_an_empty_prompt_starts_from_the_training_frequencies(
    small: Generator, chi_square: ChiSquare
) -> None:
    """Over the streams of one seed, and over seeds."""
    over_streams = side_by_side(small, "", 1500, length=1, seed=5)
    over_seeds = [small.text("", length=1, seed=seed) for seed in range(1500)]
    for drawn in (over_streams, over_seeds):
        ids = small.vocabulary.encode("".join(drawn))
        found, quantile = chi_square(np.bincount(ids, minlength=28), small.metadata.initial)
        assert found < quantile
        even, quantile = chi_square(np.bincount(ids, minlength=28), np.ones(28))
        assert even > quantile


def test_an_empty_prompt_draws_greedily_at_zero_temperature(small: Generator) -> None:
    """The most frequent character, then the likeliest."""
    assert small.text("", length=1, temperature=0) == "é"
    assert small.text("", length=30, temperature=0)[1:] == small.text("é", length=29, temperature=0)


def test_next_characters_are_drawn_from_the_models_distribution(
    small: Generator, chi_square: ChiSquare
) -> None:
    stepper = Stepper(small.model, 1)
    for token in small.encode("the city"):
        stepper.token[0] = token
        stepper.step()
    shares = np.exp(stepper.logits[0].astype(np.float64) / 4)
    drawn = side_by_side(small, "the city", 4000, length=1, temperature=4.0, seed=2)
    ids = small.vocabulary.encode("".join(drawn))
    found, quantile = chi_square(np.bincount(ids, minlength=28), shares)
    assert found < quantile


def test_a_prompt_is_normalised_as_the_corpus_was(small: Generator) -> None:
    wanted = small.text("the city", length=30, seed=1)
    assert small.text("The\n CI\nTY", length=30, seed=1) == wanted
    assert small.normalised("The\n CI\nTY") == "the city"


def test_a_prompt_is_composed_where_the_corpus_was(small: Generator) -> None:
    assert small.metadata.normalisation.nfc is False
    composing = replace(small.metadata, normalisation=Normalisation(nfc=True))
    twin = Generator(Model(Path("m.onnx"), b"", composing))
    assert twin.normalised("e\N{COMBINING ACUTE ACCENT}") == "é"
    with pytest.raises(VocabularyError):
        small.normalised("e\N{COMBINING ACUTE ACCENT}")


def test_a_model_is_a_path() -> None:
    with pytest.raises(SettingsError, match="the path of a file or a name, not 5"):
        Generator.open(5)  # type: ignore[arg-type]


def test_unknown_characters_are_an_error_dropped_or_replaced(small: Generator) -> None:
    with pytest.raises(
        VocabularyError, match=r"'\?' \(U\+003F\) at position 3 \(.*\), in 'the\?city'"
    ):
        small.stream("the?city")
    assert small.normalised("the?city", "drop") == "thecity"
    assert small.normalised("the?city", "é") == "theécity"
    assert small.text("the?city!", seed=1, unknown="drop") == small.text("thecity", seed=1)
    assert small.text("?!", seed=1, unknown="drop") == small.text("", seed=1)


@pytest.mark.parametrize("unknown", ["?", "ab", "", "DROP"])
@pytest.mark.parametrize("prompt", ["", "the city", "?"])
def test_a_replacement_that_the_model_lacks_is_refused(
    small: Generator, prompt: str, unknown: str
) -> None:
    with pytest.raises(VocabularyError, match="is not one of the model's 28 characters"):
        small.stream(prompt, unknown=unknown)


def test_a_long_prompt_is_read_to_its_end(each_way: Generator, small_torch: CharLSTM) -> None:
    """Of 20,000 characters: the state is then that of Torch."""
    ids = np.random.RandomState(3).randint(0, 28, 20_000)
    primed = reader_of(each_way.model, each_way.plan(Work())).read([ids, ids])
    with torch.no_grad():
        _, state = small_torch(torch.from_numpy(ids)[:, None], small_torch.zero_state(1))
    for ours, theirs in zip((primed.h, primed.c), state, strict=True):
        wanted = theirs.transpose(0, 1).expand(ours.shape)
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-3)


def test_a_text_without_end_takes_no_more_memory(small: Generator) -> None:
    stream = small.stream("a", length=0, seed=1)
    tracemalloc.start()
    try:
        for _ in range(2000):
            next(stream)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(5000):
            next(stream)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000


def test_a_text_without_end_has_no_whole(small: Generator) -> None:
    with pytest.raises(SettingsError, match="without end"):
        small.text("a", length=0)
    endless = small.stream("a", length=0, seed=1)
    assert "".join(itertools.islice(endless, 50)) == small.text("a", length=50, seed=1)


def test_the_first_characters_come_in_short_pieces(exact_each_way: Generator) -> None:
    """Nobody waits long to see that something comes; later pieces may be longer."""
    lengths = [len(piece) for piece in exact_each_way.stream("a", length=2000).pieces()]
    assert sum(lengths) == 2000
    assert lengths[0] <= 16
    assert lengths[:-1] == sorted(lengths[:-1])


@pytest.mark.parametrize("exported_anew", [False, True])
def test_a_gpu_is_opened_for_many_texts_of_the_same_model_alone(
    exported_anew: bool,
    small_path: Path,
    as_if_on_cuda: Callable[[Model], Model],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file that was exported anew since is another model: then the one in memory goes on."""
    ours = Generator.open(small_path)
    assert ours.model.device == "cpu"
    found = as_if_on_cuda(ours.model)
    if exported_anew:
        found.metadata = replace(found.metadata, weights_sha256="0" * 64)
    monkeypatch.setattr(providers, "choose", lambda wanted: providers.Choice("cuda"))
    monkeypatch.setattr(generator, "open_model", lambda *_: found)
    requests = [Request("the", length=9, sample=n) for n in range(3)]
    assert len(list(ours.batch(requests, work=Work(3, 9)))) == 3, "too few to open it"
    if exported_anew:
        assert len(list(ours.batch(requests))) == 3
    else:
        with pytest.raises(ModelFileError):  # what stands in for a GPU has no weights
            list(ours.batch(requests))
