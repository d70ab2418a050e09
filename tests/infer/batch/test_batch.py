"""Many streams at once: each text is the one that its request gives alone."""

import itertools
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.data.system.errors import CharlmError, ModelFileError, SettingsError
from charlm.infer.batch import intake, scheduler
from charlm.infer.batch.prompt_file import BadLine
from charlm.infer.batch.results import Failure, Order, Outcome, Result
from charlm.infer.batch.scheduler import (
    Piece,
    block_length,
    generate_batch,
    longest_shown,
    longest_worth,
)
from charlm.infer.engines.base import Primed, Rows, Tokens
from charlm.infer.engines.native import NativeEngine, NativeReader
from charlm.infer.engines.planning import Work, engine_of, reader_of
from charlm.infer.generator import Generator
from charlm.infer.request import Request
from charlm.infer.sampling.draw import Sampling


def alone(generator: Generator, request: Request) -> str:
    return generator.text(
        request.prompt, sample=request.sample, length=request.length, seed=request.seed,
        temperature=request.temperature, top_k=request.top_k, top_p=request.top_p,
        min_p=request.min_p, unknown=request.unknown, stop=request.stop,
    )  # fmt: skip


class Recorded(NativeEngine):
    """An engine, and a reader, that keep what they were asked for."""

    def __init__(self, generator: Generator) -> None:
        session = generator.model.native("float32", 1)
        super().__init__(session, generator.metadata)
        self._reader = NativeReader(session, generator.metadata)
        self._decode = generator.vocabulary.decode
        self.blocks: list[tuple[int, int]] = []
        self.prompts: list[list[str]] = []
        self.error: BaseException | None = None

    def read(self, prompts: Sequence[Tokens]) -> Primed:
        self.prompts.append([self._decode(prompt) for prompt in prompts])
        return self._reader.read(prompts)

    def replace(self, rows: Rows, primed: Primed, sampling: Sampling) -> None:
        assert len(set(rows.tolist())) == len(rows) == len(primed.logits) > 0
        super().replace(rows, primed, sampling)

    def draw(self, steps: int) -> Tokens:
        self.blocks.append((len(self._h), steps))
        if self.error and len(self.blocks) > 3:
            raise self.error
        return super().draw(steps)


def recorded(
    generator: Generator, requests: Any, **options: Any
) -> tuple[Recorded, Iterator[Outcome]]:
    engine = Recorded(generator)
    return engine, generate_batch([engine], engine, generator.metadata, requests, **options)


def run(
    generator: Generator, requests: list[Request], engines: int = 1, **options: Any
) -> list[Outcome]:
    model, plan = generator.model, generator.plan(Work(None))
    drawing, reader = [engine_of(model, plan) for _ in range(engines)], reader_of(model, plan)
    return list(generate_batch(drawing, reader, generator.metadata, requests, **options))


def texts(outcomes: list[Outcome]) -> list[str]:
    assert all(isinstance(each, Result) for each in outcomes), outcomes
    return [each.text for each in outcomes if isinstance(each, Result)]


prompts = st.one_of(st.just(""), st.text("abc é", min_size=1, max_size=12))
asked = st.builds(
    Request,
    prompt=prompts,
    length=st.integers(1, 80),
    temperature=st.sampled_from([0.0, 0.3, 1.0, 2.0]),
    seed=st.integers(0, 3),
    sample=st.integers(0, 3),
    top_k=st.sampled_from([0, 2, 5]),
    top_p=st.sampled_from([1.0, 0.8]),
    stop=st.lists(st.text("abcdefgh", min_size=1, max_size=2), max_size=2).map(tuple),
)


@pytest.mark.parametrize("via", ["native", "steps"])
@settings(max_examples=60)
@given(data=st.data(), requests=st.lists(asked, min_size=1, max_size=12))
def test_a_text_does_not_depend_on_what_runs_beside_it(
    exact: Generator, via: str, data: st.DataObject, requests: list[Request]
) -> None:
    """Whatever the engines, the width, the order of the requests, and the length of a block."""
    wanted = [alone(exact, request) for request in requests]
    order = data.draw(st.permutations(range(len(requests))))
    outcomes = run(
        Generator(exact.model, via=via),
        [requests[place] for place in order],
        engines=data.draw(st.integers(1, 3), "engines"),
        width=data.draw(st.integers(1, 14), "width"),
        ordered=data.draw(st.booleans(), "ordered"),
        longest_block=data.draw(st.integers(1, 70), "longest block"),
    )
    assert sorted(each.index for each in outcomes) == list(range(len(requests)))
    for outcome in outcomes:
        assert isinstance(outcome, Result)
        place = order[outcome.index]
        assert outcome.text == wanted[place]
        assert outcome.request is requests[place]
        assert outcome.characters == len(outcome.text)
        ended = outcome.finish == "stop"
        assert ended == (outcome.stop is not None)
        assert ended or outcome.characters == outcome.request.length


def mixed(count: int) -> list[Request]:
    """Streams of mixed lengths, prompts and settings; each 97th is far longer."""
    random = np.random.RandomState(count)
    return [
        Request(
            "the city"[: random.randint(0, 9)],
            length=int(random.randint(1, 40)) if number % 97 else 400,
            temperature=float(random.choice([0.5, 1.0])),
            seed=9,
            sample=number,
            stop=("qx",) if number % 3 else (),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("ordered", [True, False])
def test_three_thousand_streams_of_mixed_lengths(exact: Generator, ordered: bool) -> None:
    requests = mixed(3000)
    outcomes = list(exact.batch(iter(requests), width=200, ordered=ordered))
    indices = [each.index for each in outcomes]
    assert sorted(indices) == list(range(3000))
    assert (indices == sorted(indices)) == ordered
    by_index = {each.index: each for each in outcomes if isinstance(each, Result)}
    for number in (*range(0, 3000, 61), *range(0, 3000, 97)):
        assert by_index[number].text == alone(exact, requests[number])


def test_none_waits_for_the_slowest(exact: Generator) -> None:
    """One text of 640 and 80 of 8 side by side: little more is drawn than is asked for."""
    requests = [Request("a", length=640), *[Request("a", length=8, sample=s) for s in range(80)]]
    engine, outcomes = recorded(exact, requests, width=2, ordered=False)
    assert 0 in [each.index for each in outcomes][-2:]
    assert sum(rows * steps for rows, steps in engine.blocks) == 1280
    assert max(rows for rows, _ in engine.blocks) == 2


def test_at_the_end_the_batch_shrinks(exact: Generator) -> None:
    requests = [Request("a", length=16 * (1 + number), sample=number) for number in range(8)]
    engine, outcomes = recorded(exact, requests, width=8)
    assert texts(list(outcomes)) == [alone(exact, request) for request in requests]
    rows = [rows for rows, _ in engine.blocks]
    assert rows == sorted(rows, reverse=True)
    assert rows[-1] == 1
    assert sum(rows * steps for rows, steps in engine.blocks) <= 1.3 * 16 * 36


def test_in_order_what_waits_is_bounded(exact: Generator) -> None:
    """A long text first: new ones are held back, and come in once it is out."""
    taken = 0

    def requests() -> Iterator[Request]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield Request("a", length=1 if number else 300, sample=number)

    engine, outcomes = recorded(exact, requests(), width=4, longest_block=8)
    first = next(outcomes)
    assert first.index == 0
    assert taken == scheduler.WINDOW * 4 + 1, "a look at the one that is held back"
    assert engine.blocks[-1][0] == 1, "only the long one was left"
    assert [each.index for each in outcomes] == list(range(1, 100))
    assert max(rows for rows, _ in engine.blocks) == 4, "it grew again"


def test_prompts_are_read_many_at_a_time(exact: Generator) -> None:
    requests = [Request("abc"[: s % 4] + "b" * s, length=5 + s % 30) for s in range(1, 65)]
    engine, outcomes = recorded(exact, requests, width=16)
    assert len(list(outcomes)) == 64
    assert [len(together) for together in engine.prompts] == [16] * 4


@pytest.mark.parametrize("ordered", [True, False])
def test_a_prompt_that_comes_again_is_not_read_again(exact: Generator, ordered: bool) -> None:
    prompts = [*["the city"] * 40, *["a", "the city", "é", "a"] * 10]
    requests = [Request(prompt, length=30, sample=s) for s, prompt in enumerate(prompts)]
    engine, outcomes = recorded(exact, requests, width=8, ordered=ordered)
    for outcome in outcomes:
        assert isinstance(outcome, Result)
        assert outcome.text == alone(exact, outcome.request)
    assert [*itertools.chain(*engine.prompts)] == ["the city", "a", "é"]


def test_requests_of_millions_take_no_memory(exact: Generator) -> None:
    endless = (Request("a", length=3, sample=number) for number in itertools.count())
    outcomes = exact.batch(endless, width=16)
    tracemalloc.start()
    try:
        for _ in itertools.islice(outcomes, 500):
            pass
        before, _ = tracemalloc.get_traced_memory()
        for _ in itertools.islice(outcomes, 2000):
            pass
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 50_000


def test_a_request_can_wait_for_the_text_of_the_one_before(exact: Generator) -> None:
    """As a program does that writes a prompt, reads the text and writes the next."""
    got: list[str] = []

    def requests() -> Iterator[Request]:
        for number in range(4):
            assert len(got) == number
            yield Request("a", length=20, sample=number)

    for outcome in exact.batch(requests(), width=1):
        assert isinstance(outcome, Result)
        got.append(outcome.text)
    assert len(got) == 4


STOP_TEXT = 200


@pytest.mark.parametrize("block", range(1, 9))
@pytest.mark.parametrize("at", [0, 1, 5, 6, 7, 8, 9, 15, 16])
def test_stop_strings_across_the_borders_of_blocks(exact: Generator, at: int, block: int) -> None:
    whole = exact.text("a", length=STOP_TEXT, seed=2)
    stop = whole[at : at + 4]
    end = whole.index(stop)
    request = Request("a", length=STOP_TEXT, seed=2, stop=("zzzzzzzz", stop))
    (result,) = run(exact, [request], width=1, longest_block=block)
    assert isinstance(result, Result)
    assert (result.text, result.finish, result.stop) == (whole[:end], "stop", stop)


def test_a_stop_string_at_the_very_end_is_one(exact: Generator) -> None:
    whole = exact.text("a", length=50, seed=2)
    stop = next(whole[n - 3 : n] for n in range(3, 50) if whole.index(whole[n - 3 : n]) == n - 3)
    end = whole.index(stop) + 3
    (complete,) = run(exact, [Request("a", length=end, seed=2, stop=stop)], width=1)
    (short,) = run(exact, [Request("a", length=end - 1, seed=2, stop=stop)], width=1)
    assert isinstance(complete, Result)
    assert isinstance(short, Result)
    assert (complete.text, complete.finish) == (whole[: end - 3], "stop")
    assert (short.text, short.finish) == (whole[: end - 1], "length")


def test_a_stop_string_is_given_back_as_it_was_asked_for(exact: Generator) -> None:
    whole = exact.text("a", length=50, seed=2).strip()
    stop = next(c for c in whole if c.isascii() and c != " ").upper()
    (result,) = run(exact, [Request("a", length=50, seed=2, stop=stop)], width=1)
    assert isinstance(result, Result)
    assert result.stop == stop
    assert stop.lower() not in result.text


def test_the_first_character_of_an_empty_prompt_can_end_a_text(exact: Generator) -> None:
    first = exact.text("", length=1, seed=4)
    asked_for = [
        Request("", length=1, seed=4),
        Request("", length=30, seed=4, stop=first),
        Request("", length=30, seed=4),
    ]
    one, none, whole = run(exact, asked_for, width=3)
    assert isinstance(one, Result)
    assert isinstance(none, Result)
    assert isinstance(whole, Result)
    assert (one.text, one.finish) == (first, "length")
    assert (none.text, none.finish) == ("", "stop")
    assert whole.text == exact.text("", length=30, seed=4)


def test_what_is_wrong_with_one_leaves_the_others(exact: Generator, small: Generator) -> None:
    bad = BadLine(3, CharlmError("no"))
    requests: list[Request | BadLine] = [
        Request("a", length=5, seed=1),
        bad,
        Request("a?", length=5, line=4),
        Request("a", length=5, stop=""),
        Request("a", length=5, unknown="??"),
        Request("A?", length=5, seed=1, unknown="drop"),
        Request("a", length=5, state=small.read("a")),
    ]
    outcomes = list(exact.batch(requests, width=2))
    assert [each.index for each in outcomes] == list(range(7))
    failures = [each for each in outcomes if isinstance(each, Failure)]
    assert [each.index for each in failures] == [1, 2, 3, 4, 6]
    assert [each.line for each in failures] == [3, 4, None, None, None]
    assert failures[0].error is bad.error
    assert "'?' (U+003F) at position 1" in str(failures[1].error)
    assert "is empty" in str(failures[2].error)
    assert "other weights" in str(failures[4].error)
    first, last = outcomes[0], outcomes[5]
    assert isinstance(first, Result)
    assert isinstance(last, Result)
    assert last.prompt == "a"
    assert first.text == last.text


@pytest.mark.parametrize("ordered", [True, False])
def test_what_the_engine_can_not_serve_leaves_the_others(exact: Generator, ordered: bool) -> None:
    """A request that is refused never reaches the engine, and fails with what was said of it."""
    why = SettingsError("no filters here")
    requests = [
        Request("a", length=5 + s, sample=s, top_k=2 * (s % 3 == 0), line=s + 1) for s in range(9)
    ]
    outcomes = run(
        exact, requests, width=2, ordered=ordered,
        refuse=lambda request: why if request.top_k else None,
    )  # fmt: skip
    assert sorted(each.index for each in outcomes) == list(range(9))
    for outcome in outcomes:
        if outcome.index % 3 == 0:
            assert outcome == Failure(outcome.index, outcome.index + 1, why)
        else:
            assert isinstance(outcome, Result)
            assert outcome.text == alone(exact, outcome.request)


def test_bad_requests_alone_are_given_out_as_they_come(exact: Generator) -> None:
    """However many: none is kept until a good one comes."""
    bad = (BadLine(number, CharlmError("no")) for number in itertools.count(1))
    for ordered in (True, False):
        found = list(itertools.islice(exact.batch(bad, width=3, ordered=ordered), 20))
        assert [each.index for each in found] == list(range(20))


def test_no_requests_no_results(exact: Generator) -> None:
    assert list(exact.batch([])) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ModelFileError("gone")])
def test_what_is_finished_comes_out_before_an_error(exact: Generator, error: BaseException) -> None:
    requests = [Request("a", length=500), *[Request("a", length=3, sample=s) for s in range(9)]]
    engine, outcomes = recorded(exact, requests, width=4, longest_block=8)
    engine.error = error
    got: list[int] = []
    with pytest.raises(type(error)):
        got.extend(each.index for each in outcomes)
    assert got == list(range(1, 10)), "all but the long one, in their order"


@pytest.mark.parametrize("ordered", [False, True])
def test_ctrl_c_as_a_text_is_given_out_does_not_lose_it(ordered: bool) -> None:
    """Python raises it as a call ends: what the call took out would be nobody's."""

    class Waiting(dict[int, Outcome]):
        def pop(self, *given: Any) -> Any:
            pytest.fail("Ctrl-C after this call loses what it took out")

    order, failures = Order[Outcome](ordered), [Failure(n, None, CharlmError()) for n in range(3)]
    order._waiting = Waiting()
    for failure in failures:
        order.add(failure)
    assert next(order.ready()) == failures[0]
    assert list(order.rest()) == failures[1:]


def test_engines_share_the_width(exact: Generator) -> None:
    engines = [Recorded(exact), Recorded(exact)]
    requests = [Request("a", length=20, sample=s) for s in range(40)]
    assert len(list(generate_batch(engines, engines[0], exact.metadata, requests, width=7))) == 40
    assert sorted(max(rows for rows, _ in each.blocks) for each in engines) == [3, 4]


def test_what_another_engine_has_finished_is_yielded_before_an_error(
    exact: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first engine fails as it draws, and the second has ended its texts by then."""
    done = threading.Event()

    class First(Recorded):
        def draw(self, steps: int) -> Tokens:
            assert done.wait(30)
            raise ModelFileError("damaged")

    class Pool(ThreadPoolExecutor):
        def submit(self, draw: Any, *arguments: Any) -> Future[Any]:  # type: ignore[override]
            drawn = super().submit(draw, *arguments)
            drawn.add_done_callback(lambda _: done.set())  # the second's: the first one's waits
            return drawn

    monkeypatch.setattr(scheduler, "ThreadPoolExecutor", Pool)
    engines = [First(exact), Recorded(exact)]
    requests = [Request("a", length=5, sample=s) for s in range(4)]
    outcomes = generate_batch(engines, engines[0], exact.metadata, requests, width=4)
    got: list[int] = []
    with pytest.raises(ModelFileError):
        got.extend(each.index for each in outcomes)
    assert got == [2, 3]


def test_what_is_no_request_is_said_to_be_none(exact: Generator) -> None:
    with pytest.raises(SettingsError, match="takes Request objects, not str"):
        list(exact.batch(["a"]))  # type: ignore[list-item]


@pytest.mark.parametrize(("stop", "longest"), [((), 400), (("never comes",), 256)])
def test_blocks_are_short_where_a_stop_string_may_come(
    exact: Generator, stop: tuple[str, ...], longest: int
) -> None:
    request = Request("a", length=400, stop=stop)
    engine, outcomes = recorded(exact, [request], width=1, longest_block=400)
    assert len(texts(list(outcomes))) == 1
    assert max(steps for _, steps in engine.blocks) == longest


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize(("longest", "ended"), [(9, 20), (5, 0)])
def test_ctrl_c_while_a_block_is_cut_loses_no_text_that_was(
    exact: Generator, monkeypatch: pytest.MonkeyPatch, early: bool, longest: int, ended: int
) -> None:
    """Before or after a text has taken its part; one that has is not given it again."""
    calls, take = itertools.count(1), intake.Stream.take

    def interrupted(self: Any, drawn: str) -> None:
        stops = next(calls) == 15
        if not (stops and early):
            take(self, drawn)
        if stops:
            raise KeyboardInterrupt

    monkeypatch.setattr(intake.Stream, "take", interrupted)
    requests = [Request("a", length=9, seed=1, sample=n) for n in range(20)]
    _, outcomes = recorded(exact, requests, width=20, longest_block=longest)
    got: list[Outcome] = []
    with pytest.raises(KeyboardInterrupt):
        got.extend(outcomes)
    assert texts(got) == [exact.text("a", length=9, seed=1, sample=n) for n in range(ended)]


def test_memory_that_is_not_enough_is_one_line(exact: Generator) -> None:
    engine, outcomes = recorded(exact, [Request("a", length=500)], width=4, longest_block=8)
    engine.error = MemoryError()
    with pytest.raises(SettingsError, match="4 streams side by side don't fit into memory"):
        list(outcomes)


def test_weights_that_are_not_finite_are_an_error(exact: Generator) -> None:
    class Broken(Recorded):
        def read(self, prompts: Any) -> Primed:
            primed = super().read(prompts)
            return Primed(primed.h, primed.c, primed.logits * np.float32(np.nan))

    engine = Broken(exact)
    outcomes = generate_batch([engine], engine, exact.metadata, [Request("a")], width=1)
    with pytest.raises(ModelFileError, match="not finite"):
        next(outcomes)


class Seen:
    """A watcher of some texts, which gets tired of one."""

    def __init__(self, *indexes: int, enough: tuple[int, int] = (-1, 0)) -> None:
        self.indexes, self.enough = indexes, enough
        self.texts: dict[int, str] = {}
        self.prompts: set[str] = set()
        self.blocks = 0

    def watches(self, index: int) -> bool:
        return index in self.indexes

    def see(self, pieces: Sequence[Piece]) -> list[int]:
        self.blocks += 1
        for piece in pieces:
            self.texts[piece.index] = self.texts.get(piece.index, "") + piece.text
            self.prompts.add(piece.prompt)
        index, characters = self.enough
        return [index] if len(self.texts.get(index, "")) > characters else []


@pytest.mark.parametrize("count", [1, 2, 40])
@pytest.mark.parametrize("stop", [(), ("zq", "e"), ("the",)])
def test_the_first_text_is_shown_in_pieces(
    exact: Generator, count: int, stop: tuple[str, ...]
) -> None:
    """Only what is certain, in blocks that are short where the batch is wide."""
    seen = Seen(0)
    requests = [Request("The", length=1000, sample=s, seed=3, stop=stop) for s in range(count)]
    outcomes = exact.batch(requests, watcher=seen)
    result = next(outcomes)
    assert isinstance(result, Result)
    assert seen.prompts == {"the"}
    assert seen.texts == {0: result.text}
    before = seen.blocks
    list(outcomes)
    assert seen.blocks == before
    if not stop:
        assert before >= 3


def test_texts_are_watched_while_others_leave_and_enter_and_one_is_left(exact: Generator) -> None:
    """A text that is not wanted any more makes room at once, and changes no other."""
    lengths = {0: 400, 5: 1 << 40}
    requests = [Request("a", length=lengths.get(s, 20 + s), sample=s) for s in range(30)]
    seen = Seen(0, 5, 29, enough=(5, 300))
    outcomes = list(exact.batch(requests, width=8, watcher=seen))
    assert texts(outcomes)[:5] == [alone(exact, request) for request in requests[:5]]
    assert texts(outcomes)[6:] == [alone(exact, request) for request in requests[6:]]
    left = texts(outcomes)[5]
    assert 300 < len(left) < 1000
    assert left == alone(exact, replace(requests[5], length=len(left)))
    assert seen.texts == {each: texts(outcomes)[each] for each in (0, 5, 29)}


def test_texts_that_are_shown_come_in_shorter_blocks(exact: Generator) -> None:
    requests = [Request("a", length=200, sample=s) for s in range(300)]
    engine, outcomes = recorded(exact, requests, width=300, watcher=Seen(0))
    assert len(list(outcomes)) == 300
    assert engine.blocks[0] == (300, 32)


def test_after_a_first_that_fails_none_is_shown(exact: Generator) -> None:
    requests = [Request("?"), *[Request("a", length=200, sample=s) for s in range(300)]]
    engine, outcomes = recorded(exact, requests, width=300, watcher=(seen := Seen(0)))
    assert len(list(outcomes)) == 301
    assert not seen.blocks
    assert [steps for _, steps in engine.blocks][1:3] == [64, 64], "nobody watches"


def test_requests_that_come_while_others_run_do_not_hold_them_up(exact: Generator) -> None:
    """None among the requests says that none is there yet."""
    waits: list[int] = []

    def live() -> Iterator[Request | None]:
        yield Request("a", length=300, seed=1)
        while len(waits) < 3:
            waits.append(len(engine.blocks))
            yield None
        yield Request("b", length=20, seed=2)

    engine, outcomes = recorded(exact, live(), width=2, ordered=False, longest_block=16)
    found = {each.index: each for each in outcomes}
    assert waits == [0, 1, 2]
    assert [str(found[index]) for index in (0, 1)] == [
        alone(exact, Request("a", length=300, seed=1)),
        alone(exact, Request("b", length=20, seed=2)),
    ]


@pytest.mark.parametrize(
    ("remaining", "longest", "steps"),
    [
        ([5], 64, 5),
        ([64], 64, 64),
        ([1000] * 10, 64, 64),
        ([1000] * 10, 512, 512),
        ([3] * 10, 64, 3),
        ([100] * 10, 1, 1),
        ([8] * 100 + [1000], 64, 8),
        ([1] + [1000] * 999, 64, 64),
    ],
)
def test_blocks_are_as_long_as_pays(remaining: list[int], longest: int, steps: int) -> None:
    assert block_length(np.array(remaining, dtype=np.int64), longest) == steps


@pytest.mark.parametrize(
    ("speed", "stops", "steps"),
    [
        (0, False, 1024),
        (1e3, False, 32),
        (4e6, False, 250),
        (400e6, False, 25_000),
        (4e8, True, 256),
    ],
)
def test_a_block_takes_no_longer_than_ctrl_c_may_wait(
    speed: float, stops: bool, steps: int
) -> None:
    assert longest_worth(16_000, speed, stops) == steps


@pytest.mark.parametrize(
    ("watched", "streams", "steps"),
    [(1, 1, 8192), (8, 8, 1024), (512, 512, 131), (1, 512, 32), (1, 20, 409)],
)
def test_blocks_last_longer_the_more_texts_are_shown(
    watched: int, streams: int, steps: int
) -> None:
    assert longest_shown(watched, streams, 300_000) == steps


@given(st.lists(st.integers(1, 1 << 60), min_size=1, max_size=50), st.integers(1, 200))
def test_blocks_are_within_their_bounds(remaining: list[int], longest: int) -> None:
    assert 1 <= block_length(np.array(remaining, dtype=np.int64), longest) <= longest
