"""What to try next: rules of thumb, each with the figure that speaks for it and a line to run."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from charlm.data import MAX_HIDDEN, MAX_WINDOW
from charlm.data.text.rare import ALPHABETS
from charlm.train.report.again import OUT, budget, free_folders, generate, resume, train_again
from charlm.train.report.measure import Advice, Evidence
from charlm.train.report.reading import ContextPoint
from charlm.train.report.subject import Point, Subject
from charlm.train.setup import defaults

ENOUGH = 10  # epochs that most texts repay
MOST_TIMES = 4  # as long, at once: no curve says more
POWER = 0.45  # of the characters seen, with which what is left to learn shrinks
LASTING = 0.6  # of a fall in the second half: the rest is the learning rate's
LEAST_GAIN = 0.005  # bits that are worth a word
FALLING = 0.004  # of the bits, from the last epoch but one to the last
WIDE_GAP, NARROW_GAP = 0.25, 0.08  # bits that held-out text costs more than learnt text
WORSE = 0.01  # bits per character that are worth a word
BY_HEART = 3  # epochs after which a text may be known by heart
COPIED = 40  # characters of a copy
REPEATED = 0.2  # of the held-out text's substrings, from where on it is no test
QUOTED = 3.0  # times as many copies of 40 characters as another text of the same author
SHORT_TEXT = 1_000_000
MOSTLY = 0.9  # of a text's characters in ASCII, for a model of English to begin from
DRIFTED = 0.02
LONGEST_WINDOW = 100  # each character costs so many rows of a product
LEAST_DROPOUT, MOST_DROPOUT = 0.2, 0.6  # that are worth a trial
BETTER = 0.9  # of the distance at temperature 1, for another to be worth a word


def advise(subject: Subject, evidence: Evidence) -> tuple[Advice, ...]:
    """Suggestions, the most promising first; each names a new folder and leaves the run alone."""
    rules = [_longer, _overfitted, _too_small, _repeated, _short, _by_windows, _quotes, _cooler]
    if _untaught(evidence):
        rules = [_longer, _short]
    found = (each for rule in rules for each in rule(subject, evidence))
    folders = free_folders(subject)
    return tuple(
        replace(each, command=f"{each.command} {next(folders)}")
        if each.command.endswith(OUT)
        else each
        for each in found
    )


def _untaught(evidence: Evidence) -> bool:
    """Whether it does worse than how often each character occurs."""
    return evidence.bits > evidence.ngrams[0]


def _has_begun(evidence: Evidence) -> bool:
    """Whether it has read its text too seldom to know it by heart, and was learning to the end."""
    curve = [p.validation_bits for p in evidence.curve if p.validation_bits is not None]
    few = bool(evidence.curve) and evidence.curve[-1].epoch < BY_HEART
    return few and (not curve or curve[-1] == min(curve))


def _longer(subject: Subject, evidence: Evidence) -> Iterator[Advice]:
    if not subject.results.get("finished", True):
        done, all_steps = subject.results["steps"], subject.results["total_steps"]
        because = f"it is not finished: {done:,} steps" + (
            f" of {all_steps:,}" if all_steps else "; how many it needs is not known yet"
        )
        yield Advice("train it to its end", because, resume(subject))
        return
    learnt, held = evidence.gap
    if not evidence.curve or (held - learnt >= WIDE_GAP and not _has_begun(evidence)):
        return
    curve = [p.validation_bits for p in evidence.curve if p.validation_bits is not None]
    epochs = evidence.curve[-1].epoch
    worth = defaults.epochs(subject.run.model.config, len(subject.splits.train))
    few = epochs < worth and not subject.training.get("initialised_from")
    at_its_best = not curve or curve[-1] == min(curve)
    fell = curve[-2] - curve[-1] if len(curve) > 1 else 0.0
    reasons = []
    if _untaught(evidence):
        reasons.append(
            f"it needs {evidence.bits:.3f} bits, and how often each character occurs alone gives "
            f"{evidence.ngrams[0]:.3f}"
        )
    if at_its_best and len(curve) > 1 and fell > FALLING * curve[-1]:
        reasons.append(
            f"validation was still falling at the end, by {fell:.3f} bits since the evaluation "
            f"before, to {curve[-1]:.3f}"
        )
    if few and (at_its_best or (epochs < ENOUGH and evidence.best.bits < evidence.bits)):
        often = "once" if f"{epochs:.2g}" == "1" else f"{epochs:.2g} times"
        reasons.append(f"it read its text {often}, and {worth} repay their time")
    if not reasons:
        return
    times = min(max(worth / epochs, 2), MOST_TIMES) if few else 2
    if gain := expected_gain(evidence.curve, times):
        reasons.append(f"by its curve, {times:.2g} times as long should gain about {gain:.1g} bits")
    longer = budget(subject, epochs, times)
    if subject.training["recipe"] == "notebook":
        longer["recipe"] = "notebook"
    yield Advice("train longer", "; ".join(reasons), train_again(subject, **longer))


def expected_gain(curve: Sequence[Point], times: float) -> float:
    """Bits that a training so many times as long should gain, as a rough rule; 0 if unknown.

    What is left to learn shrinks with a power of the characters seen (`POWER`). How much that is,
    the fall since half as many were seen says, of which a part is the falling learning rate's; in
    the first epochs, how far its end is below its mean. Of a million characters, read
    0.09, 0.4 and 1.1 times, it foretold 0.9, 0.6 and 1.5 times what three to five times as long
    gained.
    """
    judged = [(p.characters, p.validation_bits) for p in curve if p.validation_bits is not None]
    if not judged:
        return 0.0
    (seen, bits), (first, _) = judged[-1], judged[0]
    if first <= seen / 2:
        before = np.interp(np.log(seen / 2), np.log([n for n, _ in judged]), [b for _, b in judged])
        left = LASTING * (float(before) - bits) / (2**POWER - 1)
    else:
        end = curve[0].validation_bits or 0.0
        left = (curve[0].train_bits - end) * (1 - POWER) / POWER * (first / seen) ** POWER
    gain = max(0.0, left) * (1 - times**-POWER)
    return gain if gain >= LEAST_GAIN else 0.0


def _overfitted(subject: Subject, evidence: Evidence) -> Iterator[Advice]:
    learnt, held = evidence.gap
    if not evidence.held_out or held - learnt < WIDE_GAP or _has_begun(evidence):
        return
    because = f"it reads what it learnt at {learnt:.3f} bits and the rest at {held:.3f}"
    curve = [p.validation_bits for p in evidence.curve if p.validation_bits is not None]
    best = curve.index(min(curve)) if curve else 0
    if curve and best < len(curve) - 1:
        because += f"; validation was best after epoch {evidence.curve[best].epoch:g}"
    model = subject.run.model.config
    # Of a large vocabulary, what knows the text by heart is the characters' own weights.
    name = "output_dropout" if model.vocabulary > ALPHABETS else "dropout"
    dropout = min(max(LEAST_DROPOUT, getattr(model, name) + 0.15), MOST_DROPOUT)
    again = train_again(subject, **{name: round(dropout, 2)})
    yield Advice("more dropout, or more text", because, again)


def _too_small(subject: Subject, evidence: Evidence) -> Iterator[Advice]:
    learnt, held = evidence.gap
    trained = not evidence.curve or evidence.curve[-1].epoch >= ENOUGH
    if not trained or not evidence.held_out or held - learnt >= WIDE_GAP:
        return
    best = evidence.best
    if best.bits < evidence.bits:
        because = (
            f"{best.name} does better: {best.bits:.3f} bits per character, where the model needs "
            f"{evidence.bits:.3f}"
        )
    elif held - learnt < NARROW_GAP:
        because = (
            f"held-out text costs only {held - learnt:.3f} bits more than learnt text: it has not "
            "used up what there is to learn"
        )
    else:
        return
    hidden = min(2 * subject.run.model.config.hidden, MAX_HIDDEN)
    yield Advice("more hidden units", because, train_again(subject, hidden=hidden))


def _repeated(_: Subject, evidence: Evidence) -> Iterator[Advice]:
    own = evidence.copies[-1].shares.get(COPIED, 0.0)
    if evidence.held_out and own > REPEATED:
        yield Advice(
            "hold the figures cheap, or take out what the text repeats",
            f"{own:.0%} of the held-out text's substrings of {COPIED} characters are in the "
            "training text too: a model that only copies does well",
            "",
        )


def _short(subject: Subject, evidence: Evidence) -> Iterator[Advice]:
    size = sum(map(len, subject.splits))
    if evidence.held_out and size < SHORT_TEXT:
        # What ships is of English: a text of other letters gains nothing by it.
        known = zip(subject.run.vocabulary.characters, subject.run.initial, strict=True)
        plain = sum(share for character, share in known if character.isascii()) > MOSTLY
        fits = plain and not subject.training.get("initialised_from")
        ships = ", such as lovecraft for English" if fits else ""
        yield Advice(
            f"more text, or begin from a model of a larger one{ships}",
            f"the text has {size:,} characters, and what it lacks no setting makes up for"
            + ("; lovecraft writes small letters, without line ends" if fits else ""),
            train_again(subject, init_from="lovecraft") if fits else "",
        )


def _by_windows(subject: Subject, evidence: Evidence) -> Iterator[Advice]:
    never = evidence.context[-1].bits
    tried = [p for p in evidence.context if p.length is not None and p.length <= MAX_WINDOW]
    best = min(tried, key=lambda point: point.bits, default=evidence.context[-1])
    first, last = evidence.drift.first_and_last()
    if best.bits < never - WORSE:
        yield Advice(
            "generate by windows",
            f"with the state reset every {best.length} characters, so that half as many are before "
            f"one on average, it needs {best.bits:.3f} bits, and {never:.3f} carried",
            generate(subject, f"--window {_best_window(tried)}"),
        )
    elif last - first > DRIFTED:
        yield Advice(
            "reset the state in long texts",
            f"on the same text it went from {first:.3f} to {last:.3f} bits in "
            f"{evidence.drift.characters:,} characters read on",
            generate(subject, f"--window {LONGEST_WINDOW}"),
        )


def _best_window(tried: Sequence[ContextPoint]) -> int:
    """How many characters to read before each: the end of the range where they cost least.

    Of a reset every N, a half is what the reset every N/2 has already; the rest is what characters
    with N/2 to N before them cost.
    """
    costs, before, total = {}, 0, 0.0
    for point in tried:
        length = point.length or 0
        costs[length] = (length * point.bits - total) / (length - before)
        before, total = length, length * point.bits
    return min(costs, key=lambda length: costs[length])


def _quotes(subject: Subject, evidence: Evidence) -> Iterator[Advice]:
    sample, held = evidence.copies[0], evidence.copies[-1]
    own, other = sample.shares.get(COPIED, 0.0), held.shares.get(COPIED, 0.0)
    if own > 0.002 and own > QUOTED * other:
        yield Advice(
            "stop earlier, or give it more text: it quotes",
            f"{own:.1%} of its substrings of 40 characters are in the training text, and of the "
            f"held-out text's {other:.1%}",
            train_again(subject, **budget(subject, evidence.curve[-1].epoch, 0.5))
            if evidence.curve
            else "",
        )


def _cooler(subject: Subject, evidence: Evidence) -> Iterator[Advice]:
    """The temperature whose characters in threes come closest to the held-out text's."""
    near = {each.name: each.values.get("3 characters") for each in evidence.distances}
    found = {name: value for name, value in near.items()
             if value is not None and name.startswith("temperature ")}  # fmt: skip
    if not found:
        return
    best = min(found, key=lambda name: found[name])
    temperature = best.removeprefix("temperature ")
    if found[best] < BETTER * found.get("temperature 1", 0.0):
        yield Advice(
            f"generate at temperature {temperature}",
            f"its trigrams are then {found[best]:.3f} bits from the held-out text's, and "
            f"{found['temperature 1']:.3f} at 1",
            generate(subject, f"--temperature {temperature}"),
        )
