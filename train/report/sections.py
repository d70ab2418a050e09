"""The report in order: what each section says, shows and tabulates, for HTML and Markdown alike."""

from dataclasses import dataclass
from typing import NamedTuple

from charlm.data.pages.table import CODE, LIMIT, OURS, PLAIN, Row, Table, table
from charlm.train.report.measure import Advice, Evidence
from charlm.train.report.pictures import shown

SHOWN_AT = 0.7  # the temperature of the sample on top


class Quote(NamedTuple):
    """A text of the model, with what it is."""

    title: str
    text: str


@dataclass(frozen=True)
class Section:
    """Parts in the order in which they are shown; what is empty is left out."""

    title: str
    says: tuple[str, ...] = ()  # paragraphs of plain text
    # Names in `pictures.DRAWERS`, each with what it shows in words.
    pictures: tuple[tuple[str, str], ...] = ()
    table: Table | None = None
    folded: bool = True  # the table is for who asks for it
    quotes: tuple[Quote, ...] = ()
    advice: tuple[Advice, ...] = ()  # the most promising first


class KeyFigure(NamedTuple):
    """One of the few figures on top: what, how much, and beside what."""

    name: str
    value: str
    beside: str


def sections(evidence: Evidence) -> list[Section]:
    """The whole report."""
    makers = (
        _next, _answer, _training, _context, _drift, _copies, _distance, _hardest, _samples, _about
    )  # fmt: skip
    return [make(evidence) for make in makers]


def verdict(evidence: Evidence) -> str:
    """The report in a sentence."""
    what = "held-out text" if evidence.held_out else "the last text"
    best = evidence.best
    than = "less than" if evidence.bits < best.bits else "more than"
    return (
        f"{evidence.bits:.3f} bits per character of {what} ({_judged(evidence)}); "
        f"{abs(evidence.bits - best.bits):.3f} {than} the best baseline, {best.name}."
    )


def _judged(evidence: Evidence) -> str:
    if evidence.judged == evidence.all_held_out:
        return f"all {evidence.judged:,} characters"
    return f"on {evidence.judged:,} of {evidence.all_held_out:,} characters, spread evenly"


def key_figures(evidence: Evidence) -> list[KeyFigure]:
    """Test bits, the best baseline, the gap to learnt text, and how much is copied."""
    learnt, held = evidence.gap
    sample, other = evidence.copies[0], evidence.copies[-1]
    return [
        KeyFigure("test, bits per character", f"{evidence.bits:.3f}", _judged(evidence)),
        KeyFigure("best baseline", f"{evidence.best.bits:.3f}", evidence.best.name),
        KeyFigure("gap, bits", f"{held - learnt:+.3f}",
                  f"held-out {held:.3f}, learnt {learnt:.3f}"),
        KeyFigure("copied, 40 characters and more", _percent(sample.shares.get(40)),
                  f"held-out text itself: {_percent(other.shares.get(40))}"),
    ]  # fmt: skip


def headline_sample(evidence: Evidence) -> Quote:
    """The text on top."""
    sample = min(evidence.samples, key=lambda each: abs(each.temperature - SHOWN_AT))
    return Quote(f"A sample at temperature {sample.temperature:g}; none was chosen", sample.text)


def _answer(evidence: Evidence) -> Section:
    alone = {each.name: f"{each.alone:.4f}" for each in evidence.compressed}
    found = [("this model", evidence.bits), *((b.name, b.bits) for b in evidence.baselines)]
    rows = [
        Row((name, f"{bits:.4f}", alone.get(name, "")), PLAIN if place else OURS)
        for place, (name, bits) in enumerate(found)
    ]
    rows.sort(key=lambda row: float(row.cells[1]))
    heading = ("", "bits per character", "by itself")
    says = (
        f"All on the same {evidence.judged:,} characters"
        f"{', which were not learnt from' if evidence.held_out else ''}. The n-gram models "
        "count the training text; a compressor’s figure is what the held-out text adds to "
        "the compressed training text, of which gzip sees the last 32 KB and bz2 the last "
        "800 KB, wherever its blocks end. Lower is better."
    )
    picture = ("baselines", "Bits per character of the model, of n-grams and of compressors")
    return Section("How good", (says,), (picture,), table(heading, rows))


def _training(evidence: Evidence) -> Section:
    learnt, held = evidence.gap
    gap = (
        f"In segments of {evidence.gap_length:,} characters it reads text that it learnt from, "
        f"taken from all over it, at {learnt:.3f} bits per character and "
        f"{'held-out' if evidence.held_out else 'the'} text at {held:.3f}: a gap of "
        f"{held - learnt:.3f}."
    )
    if not evidence.curve:
        return Section("Training", ("How the training went was not recorded.", gap))
    rows = []
    for point in evidence.curve:
        judged = "" if point.validation_bits is None else f"{point.validation_bits:.4f}"
        when = (f"{point.epoch:g}", f"{point.seconds / 60:.1f}", f"{point.characters:,}")
        rows.append(Row((*when, f"{point.train_bits:.4f}", judged)))
    heading = ("epoch", "minutes", "characters seen", "training", "validation")
    picture = ("training", "Bits per character against characters seen and minutes")
    return Section("Training", (gap,), (picture,), table(heading, rows))


def _context(evidence: Evidence) -> Section:
    found = {point.length: point.bits for point in evidence.context}
    rows = []
    for length, bits in found.items():
        cells = (f"{length:,}" if length else "never", f"{bits:.4f}", f"{bits - found[None]:+.4f}")
        rows.append(Row(cells, PLAIN if length else OURS))
    says: tuple[str, ...] = (
        f"The held-out text ({evidence.extent.held_out:,} characters of it) in segments, each read "
        "from a zero state: a character is predicted from at most so many before it, and from half "
        "as many on average.",
    )
    if 40 in found:
        says += (
            "Carrying the state for ever instead of resetting it every 40 characters is worth "
            f"{found[40] - found[None]:.3f} bits per character.",
        )
    picture = ("context", "Bits per character against characters between resets")
    heading = ("reset every", "bits per character", "over never")
    return Section("What carrying the state is worth", says, (picture,), table(heading, rows))


def _drift(evidence: Evidence) -> Section:
    drift = evidence.drift
    first, last = drift.first_and_last()
    how, ends = f"{drift.characters:,} characters of held-out text read without a reset", "tenth"
    if len(drift.laps) > 1:
        ends = "lap"
        how = (
            f"The {drift.lap:,} characters of held-out text, read round {len(drift.laps)} times "
            f"without a reset, {drift.characters:,} characters in all. Each lap has the same text, "
            "so that a difference between laps is drift and nothing else"
        )
    middle = len(drift.cell) // 2
    says = (
        f"{how}: first {ends} {first:.4f}, last {last:.4f} bits per character "
        f"({last - first:+.4f}).",
        f"The cell’s norm was {drift.cell[0]:,.1f} after {drift.places[0]:,} characters, "
        f"{drift.cell[middle]:,.1f} half-way and {drift.cell[-1]:,.1f} at the end; the hidden "
        f"state’s, {drift.hidden[0]:.2f}, {drift.hidden[middle]:.2f} and {drift.hidden[-1]:.2f}.",
    )
    along = "Bits per character along the held-out text, in the first and later laps"
    pictures = (("drift", along), ("state", "Norms of the state, read on"))
    return Section("Does it drift?", says, pictures)


def _copies(evidence: Evidence) -> Section:
    lengths = [20, 40, 80]
    rows = []
    for each in evidence.copies:
        longest = f"{each.longest:,}" if each.longest else "none found"
        shares = [_percent(each.shares.get(n)) for n in lengths]
        kind = LIMIT if each is evidence.copies[-1] else OURS
        rows.append(Row((each.name, f"{each.characters:,}", longest, *shares), kind))
    heading = ("text", "characters", "longest copy", *(f"{n} characters" for n in lengths))
    says = (
        "The longest passage that stands in the training text too, and the share of all "
        "substrings of 20, 40 and 80 characters that do. Texts of one author share phrases: "
        "the held-out text shows how many without a model. A run of blanks counts as one."
    )
    return Section(
        "What it remembers word for word",
        (says,),
        (("copies", "Share of substrings found in the training text, by length"),),
        table(heading, rows),
        folded=False,
        quotes=tuple(
            Quote(f"Longest copy, {each.name}: {each.longest} characters", each.text[:400])
            for each in evidence.copies
            if each.longest >= lengths[0]
        ),
    )


def _distance(evidence: Evidence) -> Section:
    names = list(dict.fromkeys(name for each in evidence.distances for name in each.values))
    rows = []
    for each in evidence.distances:
        values = [f"{each.values[n]:.4f}" if n in each.values else "" for n in names]
        rows.append(Row((each.name, *values), LIMIT if each.name == "training text" else OURS))
    says = (
        "Jensen-Shannon divergence of n-grams from those of the held-out text, in bits: 0 is "
        "the same, 1 has nothing in common. All texts are equally long, since it grows with "
        "shorter ones; the training text is the floor, what two pieces by one author differ."
    )
    picture = ("distance", "Divergence of n-grams from the held-out text")
    heading = ("text", *names)
    return Section("How like the text its samples are", (says,), (picture,), table(heading, rows))


def _hardest(evidence: Evidence) -> Section:
    rows = []
    for each in evidence.hardest:
        bits = f"{each.bits:.2f}", f"{each.frequency_bits:.2f}", f"{each.share:.1%}"
        rows.append(Row((shown(each.character), f"{each.count:,}", *bits), CODE))
    heading = ("character", "occurrences", "bits each", "by frequency alone", "of all bits")
    says = (
        "What the model needs for one, where it stands in the held-out text, beside what its bare "
        "frequency in the training text would cost."
    )
    picture = ("characters", "Bits of the hardest characters")
    return Section("The characters it finds hardest", (says,), (picture,), table(heading, rows))


def _samples(evidence: Evidence) -> Section:
    quotes = [Quote(f"Temperature {each.temperature:g}", each.text) for each in evidence.samples]
    return Section("Samples", ("Each from a zero state; none was chosen.",), quotes=tuple(quotes))


def _next(evidence: Evidence) -> Section:
    if not evidence.advice:
        return Section("What to try next", ("None of the rules of thumb has anything to mend.",))
    return Section("What to try next", advice=evidence.advice)


def _about(evidence: Evidence) -> Section:
    extent = evidence.extent
    measured = (
        f"{extent.held_out:,} characters held out with and without resets, {extent.long:,} read "
        f"on, samples of {extent.sample:,} (a quarter of it at other temperatures), "
        f"seed {evidence.seed}; planned for {extent.seconds:.0f} s"
    )
    rows = [Row(each) for each in (*evidence.about.items(), ("measured", measured))]
    facts = table(("", ""), rows, words=(1,))
    return Section("Model and measurement", evidence.notes, table=facts, folded=False)


def _percent(part: float | None) -> str:
    if part is None:
        return ""
    return f"{100 * part:.3g} %" if part else "none found"
