"""States as values: kept, gone on from, bound to their weights."""

import contextlib
import itertools
import os
import subprocess
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from charlm.data.system.errors import SettingsError, StateError, VocabularyError
from charlm.infer import Failure, Generator, Request, State

ASKED = {"length": 300, "temperature": 0.8, "seed": 7}


@pytest.fixture(scope="module", params=["native", "steps"])
def generator(request: pytest.FixtureRequest) -> Generator:
    return Generator.open("lovecraft", provider="cpu", via=request.param)


@pytest.mark.parametrize("prompt", ["the old house ", ""])
@pytest.mark.parametrize("cut", [0, 1, 15, 16, 17, 150, 300])
def test_a_text_goes_on_from_its_state(
    generator: Generator, prompt: str, cut: int, tmp_path: Path
) -> None:
    whole = generator.text(prompt, **ASKED)
    stream = generator.stream(prompt, **ASKED)
    beginning = "".join(itertools.islice(stream, cut))
    stream.state.save(tmp_path / "state")
    kept = State.load(tmp_path / "state")
    assert kept.characters == len(prompt) + cut
    rest = generator.text(state=kept, length=400, temperature=0.8)
    assert (beginning + rest)[:300] == whole
    assert "".join(stream) == whole[cut:], "looking at the state changes nothing"


def test_a_state_takes_the_place_of_a_state_alone(generator: Generator, tmp_path: Path) -> None:
    path, state = tmp_path / "file", generator.read("the ")
    path.touch()  # as `tempfile` leaves one
    state.save(path)
    state.save(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StateError, match="is there already and is no state"):
        state.save(path)


def test_it_goes_on_after_a_stop_string(generator: Generator) -> None:
    whole = generator.text("the ", **ASKED)
    stream = generator.stream("the ", **ASKED, stop="an")
    found = "".join(stream)
    assert found == whole[: whole.index("an")]
    assert stream.state.characters == 4 + len(found)
    assert (
        generator.text(state=stream.state, length=40, temperature=0.8)
        == (whole[len(found) : len(found) + 40])
    )


def test_reading_in_parts_is_reading_at_once(generator: Generator) -> None:
    parts = generator.read("old house", state=generator.read("the "))
    once = generator.read("the old house")
    assert parts.characters == once.characters == 13
    np.testing.assert_allclose(parts.h, once.h, atol=1e-6)
    np.testing.assert_allclose(parts.logits, once.logits, atol=1e-5)
    assert generator.text(state=parts, seed=3) == generator.text("the old house", seed=3)
    assert generator.read("").characters == 0


def test_a_batch_goes_on_from_states(generator: Generator) -> None:
    state = generator.read("the old ")
    asked = [
        Request("house ", length=50, seed=1, state=state),
        Request("the old house ", length=50, seed=1),
        Request(length=50, seed=1, state=state),
        Request(length=50, seed=1, state=generator.read("")),
    ]
    texts = [str(each) for each in generator.batch(asked)]
    assert texts[0] == texts[1]
    assert texts[2] == generator.text("the old ", length=50, seed=1)
    assert texts[3] == generator.text(length=50, seed=1)


def test_a_batch_goes_on_where_a_stream_stopped(generator: Generator) -> None:
    whole = generator.text("the ", **ASKED)
    stream = generator.stream("the ", **ASKED)
    beginning = "".join(itertools.islice(stream, 100))
    (rest,) = generator.batch([Request(length=200, temperature=0.8, seed=7, state=stream.state)])
    assert beginning + str(rest) == whole


def test_a_stream_without_end_takes_no_more_memory() -> None:
    stream = Generator.open("lovecraft", provider="cpu").stream("the ", length=0, seed=1)
    held = []
    tracemalloc.start()
    try:
        for _ in range(2):
            assert len(list(itertools.islice(stream, 30_000))) == 30_000
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[1] - held[0] < 10_000
    assert stream.state.characters == 60_004


def test_probabilities_are_those_of_the_score(generator: Generator) -> None:
    text = "the old house stood upon the hill"
    found = generator.log_probabilities(text)
    assert found.dtype == np.float32
    assert found.shape == (len(text),)
    assert -found[1:].sum() / np.log(2) == pytest.approx(generator.score(text).bits, rel=1e-5)
    rest = generator.log_probabilities(text[8:], state=generator.read(text[:8]))
    np.testing.assert_allclose(rest, found[8:], atol=2e-5)
    following = generator.read(text[:8]).log_probabilities()
    assert np.exp(following).sum() == pytest.approx(1, abs=1e-5)
    assert following[generator.encode(text[8])[0]] == pytest.approx(found[8], abs=2e-5)
    assert len(generator.log_probabilities("")) == 0


def test_a_state_is_a_value(generator: Generator) -> None:
    state = generator.read("the ")
    before, other = state.h.copy(), state.copy()
    other.h[:] = 0
    generator.text("x", state=state, length=30)
    np.testing.assert_array_equal(state.h, before)


def test_of_other_weights_it_is_refused(generator: Generator) -> None:
    large = Generator.open("lovecraft-large", provider="cpu")
    state = large.read("the ")
    for use in (generator.read, generator.text, generator.log_probabilities):
        with pytest.raises(StateError, match="other weights"):
            use("the ", state=state)
    (failed,) = generator.batch([Request("a", state=state)])
    assert isinstance(failed, Failure)
    assert "other weights" in str(failed)


@pytest.mark.parametrize("name", ["position", "characters"])
def test_what_a_text_leaves_can_be_read_however_long_it_is(small: Generator, name: str) -> None:
    """And no number is asked for past the last, where engines would draw other texts."""
    before = replace(small.read("the "), **{name: (1 << 63) - 1})  # type: ignore[arg-type]
    stream = small.stream(state=before, **ASKED)
    assert len("".join(stream)) == 300
    after = State.from_bytes(stream.state.to_bytes())
    assert getattr(after, name) == (1 << 63) + 299
    with pytest.raises(StateError, match="begin another text"):
        small.stream(state=after, **ASKED)


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    content = Generator.open("lovecraft", provider="cpu").read("the ").to_bytes()
    chosen = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        for place in chosen.integers(0, len(content) // 3, size=3):
            damaged[place] ^= int(chosen.integers(1, 256))
        with contextlib.suppress(StateError):  # and no other error
            State.from_bytes(bytes(damaged))
    for wrong in (
        b"",
        content[:100],
        content.replace(b'"charlm.state":"1"', b'"charlm.state":"9"'),
    ):
        with pytest.raises(StateError, match="state"):
            State.from_bytes(wrong)
    start = State.start(Generator.open("lovecraft").metadata)
    for name, value in (("position", -1), ("characters", 1.5), ("seed", 1 << 64), ("sample", True)):
        wrong = replace(start, **{name: value}).to_bytes()  # type: ignore[arg-type]
        with pytest.raises(StateError, match="damaged"):
            State.from_bytes(wrong)
    nan = replace(start, h=np.full_like(start.h, np.nan)).to_bytes()
    with pytest.raises(StateError, match="damaged"):
        State.from_bytes(nan)
    with pytest.raises(StateError, match="can't read"):
        State.load(tmp_path / "none")
    with pytest.raises(StateError, match="can't write"):
        State.start(Generator.open("lovecraft").metadata).save(tmp_path / "no" / "folder")


def test_settings_are_named(generator: Generator) -> None:
    with pytest.raises(SettingsError, match="no setting 'lenght'"):
        generator.text("a", lenght=5)  # type: ignore[call-arg]
    with pytest.raises(SettingsError, match="`window`"):
        generator.text("a", window=40, state=generator.read("a"))
    with pytest.raises(SettingsError, match="Request"):
        list(generator.batch(["a"]))  # type: ignore[list-item]
    with pytest.raises(VocabularyError):
        generator.read("ж")


def test_a_seed_that_is_not_given_is_drawn(generator: Generator) -> None:
    assert generator.text("the ", length=60) != generator.text("the ", length=60)
    (found,) = generator.batch([Request("the ", length=60)])
    assert not isinstance(found, Failure)
    assert generator.text("the ", length=60, seed=found.request.seed) == found.text


def test_a_window_leaves_no_state(small: Generator) -> None:
    stream = small.stream("the ", length=5, window=3)
    assert len("".join(stream)) == 5
    with pytest.raises(SettingsError, match="`window` leaves no state"):
        stream.state  # noqa: B018


@pytest.mark.skipif(os.name == "nt", reason="a closed pipe has another error on Windows")
@pytest.mark.parametrize("lost", ["full", "closed", "encoding"])
@pytest.mark.parametrize("there", [True, False])
def test_a_text_that_is_lost_leaves_the_older_state(
    start: Callable[..., subprocess.Popen[bytes]], small: Generator, tmp_path: Path,
    there: bool, lost: str,
) -> None:  # fmt: skip
    kept, options = tmp_path / "kept.state", {}
    if there:
        small.read("the ").save(kept)
    before = [path.read_bytes() for path in tmp_path.iterdir()]
    if lost == "encoding":
        options = {"env": {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}}
    stdout = os.open("/dev/full", os.O_WRONLY)
    if lost == "closed":
        reader, stdout = os.pipe()
        os.close(reader)
    process = start("a", "--seed", "1", "--save-state", str(kept), stdout=stdout, **options)
    _, said = process.communicate(timeout=60)
    os.close(stdout)
    assert process.returncode == (0 if lost == "closed" else 2), said
    assert [path.read_bytes() for path in tmp_path.iterdir()] == before


def test_the_command_keeps_and_takes_states(
    generate: Callable[..., tuple[int, str, list[str]]], generator: Generator, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.state"
    whole = generate("a", "--length", "100", "--seed", "5")[1]
    _, first, _ = generate("a", "--length", "60", "--seed", "5", "--save-state", kept)
    _, then, _ = generate("--length", "40", "--load-state", kept, "--no-echo")
    assert first.removesuffix("\n") + then == whole
    for more in (["--samples", "2"], ["--json"]):
        code, _, lines = generate(*more, "--load-state", kept)
        assert code == 2
        assert (
            f"--load-state and --save-state are for one text, as it comes: leave out {more[0]}"
            in (lines[-1])
        )
    kept.with_name("notes").write_text("mine")
    code, out, lines = generate("a", "--save-state", kept.with_name("notes"))
    assert (code, out, "is no state" in lines[-1]) == (2, "", True)
    text = generator.stream("a", length=60, seed=5, sample=2)
    head = "".join(itertools.islice(text, 20))
    text.state.save(kept)
    _, then, _ = generate("--length", "40", "--load-state", kept, "--no-echo", model=None)
    assert head + then == generator.text("a", length=60, seed=5, sample=2) + "\n"
    assert kept.with_name("notes").read_text() == "mine"
    code, out, lines = generate("a", "--save-state", "no/state")
    assert (code, out) == (2, ""), "found out before anything is drawn"
    assert "can't write no/state: there is no folder no" in lines[-1]
    code, _, lines = generate("a", "--save-state", tmp_path)
    assert code == 2
    assert f"can't write {tmp_path}: {tmp_path.name} is a folder and no file" in lines[-1]
    code, _, lines = generate("a", "--load-state", kept, "--window", "40")
    assert code == 2
    assert lines[-1].startswith("charlm-gen: --window reads from a zero state")
    code, out, lines = generate("a", "--save-state", "new", "--window", "40")
    assert (code, out) == (2, "")
    assert "--window leaves no state to save" in lines[-1]
    code, out, lines = generate("a", "--save-state", ".")
    assert (code, out) == (2, "")
    assert "a folder and no file" in lines[-1]
    code, _, lines = generate("a", "--load-state", "no/state")
    assert code == 2
    assert "can't read no/state" in lines[-1]
