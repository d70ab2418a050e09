"""Measuring a model against its text: how much of it, one question after another, and the answers.

How much is fixed by the run and not by a clock: the same run gives the same report.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from multiprocessing.pool import ThreadPool
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charlm.data.system.package import version
from charlm.data.system.processor import processor
from charlm.data.text.ids import count
from charlm.train.config import ModelConfig
from charlm.train.loop.evaluate import STRETCHES, judged, sample_tokens
from charlm.train.report import reading
from charlm.train.report.baselines import Baseline, Compressed, NgramModels, compress
from charlm.train.report.likeness import Copies, Distances, distances, find_copies
from charlm.train.report.subject import Point, Subject, about, points

Ids = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Say = Callable[[str], None]
LEAST_SECONDS, MOST_SECONDS = 5.0, 60.0
SHARE = 0.1  # of the time that training took
# Characters a second of one core, as a rough rule: a model of a million multiplications a
# character reads so many where the texts lie side by side, and half of them where there is one.
SIDE_BY_SIDE = 16e9
STRETCH = 1000  # characters of one of some stretches, where there are more than two
LONG = 1_000_000  # characters read without a reset
SAMPLE = 100_000
LAPS = 4  # at the least in what is read without a reset
# Characters of the corpus that are searched for copies and n-grams, which never know much less
# than the model does: that would flatter it.
LEAST_COMPARED, COMPARED = 3_000_000, 5_000_000
STREAMS = 128  # texts drawn side by side; more gain little, and make each of them shorter
SHORTEST = 500  # characters of one, where there is more than one
ORDERS = 6
GAP_LENGTH, GAP_SEGMENTS = 1280, 50
TEMPERATURES = (0.5, 0.7, 1.0, 1.2)
SHOWN = 500  # characters of a sample
SELDOM = 20  # occurrences below which a character's mean says little
HARDEST = 16


@dataclass(frozen=True)
class Extent:
    """How many characters each measurement reads."""

    long: int  # read without a reset
    # Of the held-out text, in stretches spread evenly over it: they are read round in `long`, and
    # once for each length of context.
    held_out: int
    sample: int  # drawn at temperature 1; a quarter of it at each other temperature
    # Of the training text's end, which n-grams, compressors and the search for copies are given.
    compared: int
    seconds: float  # what that takes on one free core, roughly


@dataclass(frozen=True)
class Character:
    """How hard a character is to predict."""

    character: str  # it
    count: int  # its occurrences in the held-out text
    bits: float  # mean of -log2 p where it stood
    frequency_bits: float  # what its frequency in the training text alone would cost
    share: float  # of all the bits of the held-out text


@dataclass(frozen=True)
class DrawnText:
    """A text of the model."""

    temperature: float
    text: str


@dataclass(frozen=True)
class Advice:
    """What to try next."""

    what: str  # in a few words
    because: str  # the figure that says so
    command: str  # a line to run; empty where there is none


@dataclass(frozen=True)
class Evidence:
    """All that a report says."""

    name: str  # of the run folder
    about: dict[str, str]  # facts on model and training, by name
    texts: tuple[str, ...]  # names of the text's files
    made: str  # when, by which version, and on which machine
    seed: int  # of the samples
    extent: Extent  # how much was measured
    curve: tuple[Point, ...]  # the training, an evaluation each; empty where nobody recorded it
    bits: float  # per character of the held-out text, state carried
    judged: int  # how many characters `bits` is of, and those of n-grams and compressors
    all_held_out: int  # how many there are
    held_out: bool  # whether nothing of that text was learnt from, as far as is known
    gap: tuple[float, float]  # bits per character of training and held-out text, both in segments
    gap_length: int  # characters of such a segment
    ngrams: tuple[float, ...]  # bits per character of models of order 1, 2, …
    compressed: tuple[Compressed, ...]  # what compressors need
    context: tuple[reading.ContextPoint, ...]  # by how often the state is zeroed
    drift: reading.Drift  # whether it stays good when it never is
    hardest: tuple[Character, ...]  # characters, those that cost the most in all first
    copies: tuple[Copies, ...]  # of samples, and of the held-out text
    distances: tuple[Distances, ...]  # of samples, and of the training text
    samples: tuple[DrawnText, ...]  # a text at each temperature
    advice: tuple[Advice, ...] = ()  # what to try next
    notes: tuple[str, ...] = ()  # what could not be known or was cut short

    @property
    def baselines(self) -> tuple[Baseline, ...]:
        """N-gram models and compressors, the best first."""
        least = min(self.ngrams)
        every = [Baseline(f"{n}-gram", b, b > least) for n, b in enumerate(self.ngrams, start=1)]
        every += [Baseline(each.name, each.after) for each in self.compressed]
        return tuple(sorted(every, key=lambda each: each.bits))

    @property
    def best(self) -> Baseline:
        """The baseline that is hardest to beat."""
        return self.baselines[0]

    def to_json(self) -> str:
        """Its JSON form."""
        return json.dumps(_plain(asdict(self)), indent=1, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    """Figures rounded to what they mean."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def seconds_for(training_seconds: float | None) -> float:
    """What a report may take: a tenth of the training, within bounds."""
    if training_seconds is None:
        return MOST_SECONDS
    return min(MOST_SECONDS, max(LEAST_SECONDS, SHARE * training_seconds))


def choose_extent(
    model: ModelConfig, learnt: int, held_out: int, seconds: float, sample: int | None = None
) -> Extent:
    """How much to measure of a model in so many seconds, roughly.

    Args:
        model: its sizes.
        learnt: characters of the training text.
        held_out: characters of the held-out text, at least two.
        seconds: what it may take.
        sample: characters to draw; None for as many as fit.
    """
    inner = (2 * model.layers - 1) * 4 * model.hidden**2
    multiplications = inner + 5 * model.hidden * model.vocabulary // 4 + 20_000  # of a character
    rate = SIDE_BY_SIDE / multiplications
    long = int(max(1000, min(LONG, 0.4 * seconds * rate / 2)))
    read = min(held_out, max(1000, min(long // LAPS, int(0.33 * seconds * rate / 12))))
    drawn = min(SAMPLE, max(1000, int(0.15 * seconds * rate / 3)))
    compared = min(learnt, COMPARED, max(LEAST_COMPARED, int(50_000 * seconds)))
    return Extent(max(long, read), read, sample or drawn, compared, seconds)


def measure(subject: Subject, extent: Extent, seed: int, say: Say) -> Evidence:
    """Measure everything; `say` is told what comes next, `seed` is of the samples."""
    model, splits = subject.run.model, subject.splits
    held = _spread(splits.test, extent.held_out)
    compared = splits.train[len(splits.train) - extent.compared :]
    tested = subject.results.get("test_bits_per_character") if subject.trained_here else None
    scored = held if tested is None else judged(splits.test)  # all that training reads of it
    with ThreadPool(1) as pool:  # compressors leave the interpreter to the others
        compressed = pool.apply_async(compress, (subject.text(compared), subject.text(scored)))
        say("reading on without a reset")
        carried = reading.never_reset(model, held, extent.long)
        first_lap = carried.bits[: len(held) - 1]
        say("reading with resets")
        curve = reading.context_curve(model, held, first_lap)
        gap, gap_length = _gap(subject, held)
        say("n-grams")
        ngrams = NgramModels(compared, model.config.vocabulary, min(ORDERS, len(compared) - 1))
        bits_of_ngrams = ngrams.bits_per_character(scored)
        say("drawing texts")
        drawn = {
            temperature: _draw(subject, extent, temperature, seed) for temperature in TEMPERATURES
        }
        say("looking for copies")
        cool = TEMPERATURES[0]
        texts = {
            "sample, temperature 1": drawn[1.0],
            f"sample, temperature {cool:g}": drawn[cool],
            "held-out text": [_spread(splits.test, sum(map(len, drawn[1.0])))],
        }
        blanks = np.array([character.isspace() for character in subject.run.vocabulary.characters])
        copies = find_copies(compared, texts, blanks, subject.text)
        say("comparing distributions")
        return Evidence(
            name=subject.folder.resolve().name,
            about=about(subject),
            texts=subject.texts,
            made=f"{date.today().isoformat()}, charlm {version()}, {processor()}",
            seed=seed,
            extent=extent,
            curve=points(subject),
            bits=float(first_lap.mean()) if tested is None else tested,
            judged=len(scored),
            all_held_out=len(splits.test),
            held_out=subject.trained_here,
            gap=gap,
            gap_length=gap_length,
            ngrams=bits_of_ngrams,
            compressed=compressed.get(),
            context=curve,
            drift=reading.drift_of(carried, len(held)),
            hardest=_hardest(subject, held[1:], first_lap),
            copies=copies,
            distances=_distances(subject, drawn),
            samples=tuple(
                DrawnText(t, subject.text(texts[0][:SHOWN])) for t, texts in drawn.items()
            ),
            notes=notes(subject, extent),
        )


def _spread(ids: Ids, most: int) -> Ids:
    """So many characters of a text at most, in stretches from its beginning to its end."""
    return judged(ids, most, min(STRETCHES, max(2, most // STRETCH)))


def _draw(subject: Subject, extent: Extent, temperature: float, seed: int) -> list[Ids]:
    """Texts, each from a zero state; their first characters are drawn by frequency."""
    run = subject.run
    length = extent.sample if temperature == 1 else max(SHOWN, extent.sample // 4)
    streams = max(1, min(STREAMS, length // SHORTEST))
    random = np.random.default_rng(seed)
    first = random.choice(len(run.initial), size=streams, p=run.initial)
    others = -(-length // streams) - 1
    tokens = sample_tokens(run.model, torch.from_numpy(first), others, seed, temperature)
    return list(tokens.numpy().T)


def _gap(subject: Subject, held: Ids) -> tuple[tuple[float, float], int]:
    """Bits of the training text, in segments from all over it, and of held-out text alike.

    And the segments' length, which short texts allow less of.
    """
    learnt = subject.splits.train
    length = min(GAP_LENGTH, len(held) - 1, len(learnt) - 1)
    segments = min(GAP_SEGMENTS, len(learnt) // (length + 1))
    starts = np.linspace(0, len(learnt) - length - 1, segments).astype(int)
    model = subject.run.model
    read = [reading.reset_every(model, learnt[s : s + length + 1], length) for s in starts]
    other = reading.reset_every(model, held, length)
    return (float(np.concatenate(read).mean()), float(other.mean())), length


def _hardest(subject: Subject, ids: Ids, bits: Floats) -> tuple[Character, ...]:
    vocabulary = subject.run.vocabulary
    occurrences = count(ids, len(vocabulary))
    costs = np.bincount(ids, bits, len(vocabulary))
    learnt = count(subject.splits.train, len(vocabulary)) + 1
    plain = -np.log2(learnt / learnt.sum())
    common = np.flatnonzero(occurrences >= min(SELDOM, max(1, len(ids) // 500)))
    hardest = common[np.argsort(-costs[common] / occurrences[common], kind="stable")][:HARDEST]
    found = []
    for k in hardest.tolist():
        each, share = float(costs[k] / occurrences[k]), float(costs[k] / bits.sum())
        name, times = vocabulary.characters[k], int(occurrences[k])
        found.append(Character(name, times, each, float(plain[k]), share))
    return tuple(found)


def _distances(subject: Subject, drawn: dict[float, list[Ids]]) -> tuple[Distances, ...]:
    """Of equally long texts: samples, and the end of the training text, from the held-out text."""
    splits = subject.splits
    joined = {t: np.concatenate(texts) for t, texts in drawn.items()}
    length = min(len(splits.test), len(splits.train), *map(len, joined.values()))
    held = _spread(splits.test, length)
    length = len(held)
    named = {f"temperature {t:g}": ids[:length] for t, ids in joined.items()}
    named["training text"] = splits.train[-length:]
    size = subject.run.model.config.vocabulary
    return tuple(
        Distances(name, distances(ids, subject.text(ids), held, subject.text(held), size))
        for name, ids in named.items()
    )


def notes(subject: Subject, extent: Extent) -> tuple[str, ...]:
    """What could not be known, and what was cut short."""
    splits = subject.splits
    found = []
    if not subject.trained_here:
        found.append(
            "The model was imported: nobody recorded how its training went, nor which part of the "
            "text it learnt from, perhaps all. What is called held out here may have been learnt."
        )
    elif not subject.results.get("finished", True):
        found.append("The training is not finished: this is its best epoch so far.")
    if subject.trained_here and not len(splits.validation):
        found.append("Trained with --final: no validation chose the epoch.")
    if extent.held_out < len(splits.test):
        found.append(
            f"Context, drift and hardest characters are of {extent.held_out:,} of "
            f"{len(splits.test):,} held-out characters, in stretches spread evenly over them; "
            "--seconds allows for more."
        )
    if extent.compared < len(splits.train):
        found.append(
            f"n-grams, compressors and the search for copies know the last {extent.compared:,} of "
            f"the {len(splits.train):,} characters that the model learnt from."
        )
    return tuple(found)
