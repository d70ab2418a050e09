"""Measuring a model against its text, one question after another."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charlm.data.text.ids import count
from charlm.train.evaluate import sample_tokens
from charlm.train.report import compressors, context, copies, distance, history, ngram
from charlm.train.report.evidence import (
    Character,
    ContextPoint,
    Copies,
    Distances,
    Drift,
    Evidence,
    Sample,
)
from charlm.train.report.extent import Extent
from charlm.train.report.subject import Subject
from charlm.train.runs.run_folder import Run

STREAMS = 128  # side by side; more gain little, and make each stream shorter
SHORTEST = 500  # characters of a stream, where there is more than one


def draw(run: Run, length: int, temperature: float, seed: int) -> list[npt.NDArray[Any]]:
    """Draw a large sample as several texts, each from a zero state.

    The first character of each is drawn from the characters' frequencies.

    Args:
        run: the model.
        length: characters of all together.
        temperature: above 0.
        seed: of all draws.

    Returns:
        Token ids of each text.
    """
    streams = max(1, min(STREAMS, length // SHORTEST))
    each = -(-length // streams)
    random = np.random.default_rng(seed)
    first = random.choice(len(run.initial), size=streams, p=run.initial)
    tokens = sample_tokens(run.model, torch.from_numpy(first), each - 1, seed, temperature)
    return list(tokens.numpy().T)


Say = Callable[[str], None]
ORDERS = 6
LENGTHS = (10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120)
GAP_LENGTH, GAP_SEGMENTS = 1280, 50
WINDOW = 50_000  # characters of a point of the long reading; fewer where it is short
POINTS = 20
SHARES = (10, 20, 30, 40, 60, 80)
TEMPERATURES = (0.5, 0.7, 1.0, 1.2)
SHOWN = 500  # characters of a sample
SELDOM = 20  # occurrences below which a character's mean says little
HARDEST = 16
Ids = npt.NDArray[Any]


def measure(subject: Subject, extent: Extent, seed: int, say: Say) -> Evidence:
    """Measure everything; `say` is told what comes next.

    Args:
        subject: the run and its text.
        extent: how much to read and to draw.
        seed: of the samples.
        say: takes a few words.
    """
    model, splits = subject.run.model, subject.splits
    held = splits.test[: extent.held_out]
    compared = splits.train[len(splits.train) - extent.compared :]
    say("reading on without a reset")
    carried = context.never_reset(model, held, extent.long)
    first_lap = carried.bits[: len(held) - 1]
    say("reading with resets")
    curve = _context(subject, held[: extent.resets], first_lap)
    gap, gap_length = _gap(subject, held[: extent.resets])
    say("n-grams and compressors")
    ngrams = _ngrams(compared, held, model.config.vocabulary)
    compressed = compressors.compress(subject.text(compared), subject.text(held))
    say("drawing texts")
    drawn = _draw(subject, extent, seed)
    say("looking for copies")
    found_copies = _copies(subject, compared, drawn)
    say("comparing distributions")
    return Evidence(
        name=subject.folder.resolve().name,
        about=history.about(subject),
        texts=subject.texts,
        seed=seed,
        extent=extent,
        curve=history.points(subject),
        bits=float(first_lap.mean()),
        held_out=subject.trained_here,
        gap=gap,
        gap_length=gap_length,
        ngrams=ngrams,
        compressed=tuple(compressed),
        context=curve,
        drift=_drift(carried, len(held)),
        hardest=_hardest(subject, held[1:], first_lap),
        copies=found_copies,
        distances=_distances(subject, drawn),
        samples=tuple(Sample(t, subject.text(texts[0][:SHOWN])) for t, texts in drawn.items()),
        notes=history.notes(subject, extent),
    )


def _context(
    subject: Subject, ids: Ids, carried: npt.NDArray[np.float64]
) -> tuple[ContextPoint, ...]:
    lengths = [length for length in LENGTHS if length < len(ids)]
    model = subject.run.model
    found = [
        ContextPoint(length, float(context.reset_every(model, ids, length).mean()))
        for length in lengths
    ]
    return (*found, ContextPoint(None, float(carried[: len(ids) - 1].mean())))


def _gap(subject: Subject, held: Ids) -> tuple[tuple[float, float], int]:
    """Bits of the training text, in segments from all over it, and of held-out text alike.

    And the segments' length, which short texts allow less of.
    """
    learnt = subject.splits.train
    length = min(GAP_LENGTH, len(held) - 1, len(learnt) - 1)
    segments = min(GAP_SEGMENTS, len(learnt) // (length + 1))
    starts = np.linspace(0, len(learnt) - length - 1, segments).astype(int)
    read = [context.reset_every(subject.run.model, learnt[s : s + length + 1], length)
            for s in starts]  # fmt: skip
    other = context.reset_every(subject.run.model, held, length)
    return (float(np.concatenate(read).mean()), float(other.mean())), length


def _ngrams(learnt: Ids, held: Ids, vocabulary: int) -> tuple[float, ...]:
    order = min(ORDERS, len(learnt) - 1)
    models = ngram.NgramModels(learnt, vocabulary, order)
    return tuple(ngram.bits_per_character(models, held))


def _drift(carried: context.Carried, lap: int) -> Drift:
    read = len(carried.bits)
    window = _round(min(WINDOW, read // POINTS))
    whole = read // window
    laps = read // lap
    return Drift(
        read,
        lap,
        tuple(carried.bits[: laps * lap].reshape(laps, lap).mean(axis=1).tolist()),
        window,
        tuple(carried.bits[: whole * window].reshape(whole, window).mean(axis=1).tolist()),
        tuple(carried.places.tolist()),
        tuple(carried.hidden.tolist()),
        tuple(carried.cell.tolist()),
    )


def _round(number: int) -> int:
    """The next lower number of one digit and noughts; at least 1."""
    size = int(10 ** (len(str(max(1, number))) - 1))
    return max(1, number // size * size)


def _hardest(subject: Subject, ids: Ids, bits: npt.NDArray[np.float64]) -> tuple[Character, ...]:
    vocabulary = subject.run.vocabulary
    occurrences = count(ids, len(vocabulary))
    costs = np.bincount(ids, bits, len(vocabulary))
    learnt = count(subject.splits.train, len(vocabulary)) + 1
    plain = -np.log2(learnt / learnt.sum())
    common = np.flatnonzero(occurrences >= min(SELDOM, max(1, len(ids) // 500)))
    hardest = common[np.argsort(-costs[common] / occurrences[common], kind="stable")][:HARDEST]
    return tuple(
        Character(
            vocabulary.characters[k],
            int(occurrences[k]),
            float(costs[k] / occurrences[k]),
            float(plain[k]),
            float(costs[k] / bits.sum()),
        )
        for k in hardest.tolist()
    )


def _draw(subject: Subject, extent: Extent, seed: int) -> dict[float, list[Ids]]:
    others = max(SHOWN, extent.sample // 4)
    return {
        temperature: draw(
            subject.run, extent.sample if temperature == 1 else others, temperature, seed
        )
        for temperature in TEMPERATURES
    }


def _copies(subject: Subject, learnt: Ids, drawn: dict[float, list[Ids]]) -> tuple[Copies, ...]:
    large = sum(map(len, drawn[1.0]))
    held = subject.splits.test[:large]
    texts = [*drawn[1.0], *drawn[TEMPERATURES[0]], held]
    lengths = copies.copied_lengths(learnt, texts)
    large_ones, small_ones = len(drawn[1.0]), len(drawn[TEMPERATURES[0]])
    ends = (0, large_ones, large_ones + small_ones, len(texts))
    names = ("sample, temperature 1", f"sample, temperature {TEMPERATURES[0]:g}", "held-out text")
    return tuple(
        _copies_of(subject, name, texts[begin:end], lengths[begin:end])
        for name, begin, end in zip(names, ends, ends[1:], strict=False)
    )


def _copies_of(
    subject: Subject, name: str, texts: list[Ids], lengths: list[npt.NDArray[np.int64]]
) -> Copies:
    which = max(range(len(texts)), key=lambda n: int(lengths[n].max()))
    start = int(lengths[which].argmax())
    longest = int(lengths[which][start])
    shares = {}
    for size in SHARES:
        places = sum(max(0, len(text) - size + 1) for text in texts)
        copied = sum(int((each >= size).sum()) for each in lengths)
        if places:
            shares[size] = copied / places
    text = subject.text(texts[which][start : start + longest])
    return Copies(name, sum(map(len, texts)), longest, text, shares)


def _distances(subject: Subject, drawn: dict[float, list[Ids]]) -> tuple[Distances, ...]:
    """Of equally long texts: samples, and the end of the training text, from the held-out text."""
    splits = subject.splits
    joined = {t: np.concatenate(texts) for t, texts in drawn.items()}
    length = min(len(splits.test), len(splits.train), *map(len, joined.values()))
    held = splits.test[:length]
    named = {f"temperature {t:g}": ids[:length] for t, ids in joined.items()}
    named["training text"] = splits.train[-length:]
    size = subject.run.model.config.vocabulary
    return tuple(
        Distances(name, distance.distances(ids, subject.text(ids), held, subject.text(held), size))
        for name, ids in named.items()
    )
