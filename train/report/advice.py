"""What to try next: rules of thumb, each with the figure that speaks for it and a line to run."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from charlm.data import MAX_HIDDEN, MAX_WINDOW
from charlm.data.text.corpus import SAMPLE
from charlm.data.text.rare import ALPHABETS, MAX_VOCABULARY, MIN_COUNT, REPLACEMENT
from charlm.train.config import TrainingConfig
from charlm.train.report.evidence import Advice, ContextPoint, Evidence
from charlm.train.report.subject import Subject
from charlm.train.setup import scale
from charlm.train.setup.source import shipped

ENOUGH = 10  # epochs that most texts repay
FALLING = 0.004  # of the bits, from the last epoch but one to the last
WIDE_GAP, NARROW_GAP = 0.25, 0.08  # bits that held-out text costs more than learnt text
WORSE = 0.01  # bits per character that are worth a word
QUOTED = 3.0  # times as many copies of 40 characters as another text of the same author
SHORT_TEXT = 1_000_000
MOSTLY = 0.9  # of a text's characters in ASCII, for a model of English to begin from
DRIFTED = 0.02
LONGEST_WINDOW = 100  # each character costs so many rows of a product
LEAST_DROPOUT, MOST_DROPOUT = 0.2, 0.6  # that are worth a trial
BETTER = 0.9  # of the distance at temperature 1, for another to be worth a word


def advise(subject: Subject, evidence: Evidence) -> tuple[Advice, ...]:
    """Suggestions, the most promising first; each names a new folder and leaves the run alone."""
    rules = (_longer, _overfitted, _too_small, _short, _by_windows, _quotes, _cooler)
    return tuple(each for rule in rules for each in rule(subject, evidence))


def _longer(subject: Subject, evidence: Evidence) -> Iterator[Advice]:
    if not evidence.curve:
        return
    curve = [p.validation_bits for p in evidence.curve if p.validation_bits is not None]
    epochs = evidence.curve[-1].epoch
    beaten = evidence.bits > _best_ngram(evidence)
    fell = len(curve) > 1 and curve[-1] == min(curve)
    learnt, held = evidence.gap
    if fell and curve[-2] - curve[-1] > FALLING * curve[-1] and held - learnt < WIDE_GAP:
        because = (
            f"validation was still falling at the end, by {curve[-2] - curve[-1]:.3f} bits in the "
            f"last epoch, to {curve[-1]:.3f}"
        )
    elif epochs < ENOUGH and beaten and not subject.training.get("initialised_from"):
        because = (
            f"it read its text {epochs:.2g} times, and does worse than counting n-grams: "
            f"{evidence.bits:.3f} bits per character, and they {_best_ngram(evidence):.3f}"
        )
    else:
        return
    more = max(scale.epochs(subject.run.model.config, len(subject.splits.train)), 2 * round(epochs))
    yield Advice("train longer", because, _again(subject, epochs=more))


def _overfitted(subject: Subject, evidence: Evidence) -> Iterator[Advice]:
    learnt, held = evidence.gap
    if not evidence.held_out or held - learnt < WIDE_GAP:
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
    again = _again(subject, **{name: round(dropout, 2)})
    yield Advice("more dropout, or more text", because, again)


def _too_small(subject: Subject, evidence: Evidence) -> Iterator[Advice]:
    learnt, held = evidence.gap
    trained = not evidence.curve or evidence.curve[-1].epoch >= ENOUGH
    if not trained or not evidence.held_out or held - learnt >= WIDE_GAP:
        return
    best = _best_ngram(evidence)
    if best < evidence.bits:
        because = (
            f"counting {evidence.ngrams.index(best) + 1}-grams does better: {best:.3f} bits per "
            f"character, where the model needs {evidence.bits:.3f}"
        )
    elif held - learnt < NARROW_GAP:
        because = (
            f"held-out text costs only {held - learnt:.3f} bits more than learnt text: it has not "
            "used up what there is to learn"
        )
    else:
        return
    hidden = min(2 * subject.run.model.config.hidden, MAX_HIDDEN)
    yield Advice("more hidden units", because, _again(subject, hidden=hidden))


def _best_ngram(evidence: Evidence) -> float:
    return min(evidence.ngrams, default=evidence.bits)


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
            f"the text has {size:,} characters, and what it lacks no setting makes up for",
            _again(subject, init_from="lovecraft") if fits else "",
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
            _generate(subject, f"--window {_best_window(tried)}"),
        )
    elif last - first > DRIFTED:
        yield Advice(
            "reset the state in long texts",
            f"on the same text it went from {first:.3f} to {last:.3f} bits in "
            f"{evidence.drift.characters:,} characters read on",
            _generate(subject, f"--window {LONGEST_WINDOW}"),
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
    own, other = sample.shares.get(40, 0.0), held.shares.get(40, 0.0)
    if own > 0.002 and own > QUOTED * other:
        yield Advice(
            "stop earlier, or give it more text: it quotes",
            f"{own:.1%} of its substrings of 40 characters are in the training text, and of the "
            f"held-out text's {other:.1%}",
            _again(subject, epochs=max(1, round(evidence.curve[-1].epoch / 2)))
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
            _generate(subject, f"--temperature {temperature}"),
        )


def _generate(subject: Subject, options: str) -> str:
    """A command that draws from the run with other options; it is exported before."""
    model = shlex.quote(f"{subject.folder.resolve().name}.onnx")
    run = shlex.quote(_from_here(subject.folder))
    return f"charlm-export ./{model} --run {run} && charlm-gen {options} --model ./{model}"


def _again(subject: Subject, **options: object) -> str:
    """A command that trains on the same text with other options, into another folder.

    Empty where the weights that the run began with are no longer to be found.
    """
    given = dict(options)
    training, model = subject.training, subject.run.model.config
    begun = training.get("initialised_from")
    if begun and not {"hidden", "layers"} & given.keys():
        if (source := _source(subject, begun["name"])) is None:
            return ""
        given.setdefault("init_from", source)  # it says the sizes
    if "init_from" not in given:
        kept = {"hidden": (model.hidden, 192), "layers": (model.layers, 1)}
        for name, (own, default) in kept.items():
            if own != default:
                given.setdefault(name, own)
        given |= _of_the_text(subject)
        # What was right for weights that had learnt is not for those that are drawn.
        if not begun and training.get("recipe") != "notebook":
            given = _of_the_training(training) | _held_back(subject) | given
        if not begun and training.get("epochs"):
            given.setdefault("epochs", training["epochs"])
    encoding = subject.run.summary["corpus"].get("encoding") or "utf-8"
    if encoding != "utf-8":
        given["encoding"] = encoding
    if training.get("recipe") == "notebook":
        given.setdefault("recipe", "stateful")
    words = ["charlm-train", *map(shlex.quote, _named(subject.files))]
    for name, value in given.items():
        words.append(f"--{name.replace('_', '-')}")
        if value is not None:
            words.append(shlex.quote(str(value)))
    name = subject.folder.resolve().name
    folders = (Path("runs") / f"{name}-{number}" for number in count(2))
    folder = next(each for each in folders if not each.exists())
    return " ".join([*words, "--out", shlex.quote(str(folder))])


def _held_back(subject: Subject) -> dict[str, object]:
    """Dropout and weight decay where they are not by the rule, which has others for another run."""
    training, model = subject.training, subject.run.model.config
    if training["recipe"] != "stateful":
        return {}
    own = {
        "dropout": model.dropout,
        "output_dropout": model.output_dropout,
        "weight_decay": training.get("weight_decay") or 0.0,
    }
    plain = TrainingConfig(
        epochs=training["epochs"], minutes=training["minutes"], passes=training.get("passes")
    )
    ruled = scale.settle(model, plain, len(subject.splits.train))
    by_rule = asdict(ruled[0]) | asdict(ruled[1])
    return {name: value for name, value in own.items() if value != by_rule[name]}


def _of_the_training(training: dict[str, Any]) -> dict[str, object]:
    """Settings of a stateful run that are not the defaults."""
    plain = TrainingConfig()
    found: dict[str, object] = {
        name: training[name]
        for name in ("batch_size", "seq_len", "optimiser", "lr", "muon_lr")
        if training.get(name, getattr(plain, name)) != getattr(plain, name)
    }
    return found | ({"final": None} if training.get("final") else {})


def _of_the_text(subject: Subject) -> dict[str, object]:
    """How the text was read, where that is not the default."""
    normalisation = subject.run.normalisation
    read = {"case": normalisation.case, "newlines": normalisation.newlines}
    found: dict[str, object] = {name: said for name, said in read.items() if said != "keep"}
    if not normalisation.nfc:
        found["no_nfc"] = None
    rare = subject.run.rare
    if rare.policy == "drop" or rare.replacement not in (None, REPLACEMENT):
        found["rare"] = rare.unknown
    if rare.policy != "error" and rare.min_count != MIN_COUNT:
        found["min_count"] = rare.min_count
    if rare.policy != "error" and rare.max_vocabulary != MAX_VOCABULARY:
        found["max_vocabulary"] = rare.max_vocabulary
    return found


def _named(texts: Sequence[Path]) -> list[str]:
    """How a command names them: from where the user is, and not at all what ships."""
    if [path.resolve() for path in texts] == [SAMPLE.resolve()]:
        return []
    return [_from_here(path) for path in texts]


def _source(subject: Subject, name: str) -> str | None:
    """The weights that a run began with, which it knows by name alone: often they lie beside it.

    None where they are neither there, nor here, nor a model that ships.
    """
    for path in (subject.folder.resolve().parent / name, Path(name)):
        if path.exists():
            return _from_here(path)
    model = shipped(Path(Path(name).stem))
    return model.stem if model.name == name and model.exists() else None


def _from_here(path: Path) -> str:
    """A path from where the user is, which no command takes for an option."""
    here, path = Path.cwd(), path.resolve()
    inside = str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
    return f"./{inside}" if inside.startswith("-") else inside
