"""The report's sentences: machine and method, memory, warnings, for Markdown and HTML alike."""

from charlm.benchmarks.report import answers, tables
from charlm.benchmarks.report.report import Report, unstable
from charlm.benchmarks.report.results import CaseResult, Spread

MANY_UNSTABLE = 0.3  # of the figures, from where on the page begins with a warning


def about(report: Report) -> list[str]:
    """Machine, software, model and method."""
    machine, model = report.machine, report.model
    memory = f", {machine.memory_bytes / (1 << 30):.0f} GiB" if machine.memory_bytes else ""
    each = "thread on one core" if report.threads == 1 else f"threads on {report.threads} cores"
    pinned = "" if report.pinned else " (not pinned: this system does not let a process choose)"
    return [
        f"Machine: {machine.cpu}, {machine.cores} cores{memory}; {machine.system}",
        *([f"GPU: {machine.gpu}"] if machine.gpu else []),
        "Versions: " + ", ".join(f"{name} {number}" for name, number in machine.versions.items()),
        f"Model: {model.file} ({model.bytes / 1e6:.2f} MB), LSTM {model.layers} x {model.hidden}, "
        f"{model.vocabulary} characters, weights {model.weights_sha256[:12]}",
        f"Method: every procedure in a process of its own, {report.threads} {each}{pinned}; "
        f"temperature 1, sampling included; after a warm-up {report.rounds} rounds in which each "
        f"has one trial of about {report.trial_seconds} s in turn. Median (lowest to highest); "
        f"ratios are taken round by round. {tables.UNSTABLE_MEANS}.",
        *_on_gpu(report),
    ]


def _on_gpu(report: Report) -> list[str]:
    """How long the trials of a GPU were: what it does in an instant is not what it does."""
    trials = [
        f"{case.title}: {case.units:,} characters in {case.units / spread.median:.2f} s"
        for case in report.cases
        if case.cuda and (spread := Spread.of(case.rates))
    ]
    return ["Trials on the GPU: " + "; ".join(trials)] if trials else []


def warning(report: Report) -> str:
    """One sentence where many figures are unstable; else empty."""
    wide, measured = unstable(report)
    if not measured or wide < MANY_UNSTABLE * measured:
        return ""
    return (
        f"{wide} of {measured} figures are unstable: the machine was busy or changes its speed. "
        "Trust ratios taken round by round more than absolute figures, or measure again."
    )


def rivals(report: Report) -> list[str]:
    """A sentence for every job at which another library was faster."""
    said = []
    for answer in answers.find(report):
        other = Spread.of(answer.rival.rates) if answer.rival else None
        if answer.rival is not None and other is not None:
            times = tables.number(other.median / answer.rate.median)
            said.append(
                f"{answer.job}: {answer.rival.title} was {times} times as fast in this run."
            )
    return said


def pair(report: Report) -> str:
    """How much longer one process takes than the one that it is held against."""
    ratio = report.pair_ratio()
    if ratio is None or report.pair is None:
        return ""
    ours, other = (report.process(name) for name in report.pair)
    assert ours is not None
    assert other is not None
    return (
        f"{ours.title} takes {ratio.median:.2f} times as long as {other.title} "
        f"(median of {len(ours.seconds)} pairs run in turn; {ratio.low:.2f} to {ratio.high:.2f})."
    )


def memory(report: Report) -> str:
    """Whether a long text's memory stays where it was after the first thousand characters."""
    found = report.memory
    if found is None:
        return ""
    command = f"charlm-gen --length {found.characters}"
    if found.skipped is not None:
        return f"{command} skipped: {found.skipped}."
    peak = f"; peak {tables.mebibytes(found.peak_bytes)}" if found.peak_bytes else ""
    return (
        f"{command}: {tables.mebibytes(found.early_bytes)} after the first thousand characters, "
        f"{tables.mebibytes(found.late_bytes)} after {found.late_characters:,}{peak}."
    )


def not_measured(report: Report) -> list[str]:
    """What was left out or skipped, each with the reason."""
    skipped: list[CaseResult] = [case for case in report.cases if case.skipped is not None]
    reasons = [f"{case.title}: {case.skipped}" for case in skipped]
    reasons += [f"{each.title}: {each.skipped}" for each in report.limits if each.skipped]
    for sweep in report.sweeps:
        for series in sweep.series:
            for point in series.points:
                if point.skipped:
                    reasons.append(
                        f"{sweep.title}: {series.title} at {point.label}: {point.skipped}"
                    )
    if report.left_out:
        reasons.append("A quick run leaves out: " + "; ".join(report.left_out))
    return reasons


FLIPS = (
    "Each path is fed the text of the step loop that draws one stream at a time, from the same "
    "state and random numbers. A flip is a near-tie if u lies within 2e-5 · max(1, 1/T) of a "
    "boundary between the two characters; the farthest is in multiples of that."
)


def quality(report: Report) -> str:
    """On which text the precisions were scored."""
    texts = {each.text for each in report.quality if each.text}
    return f"On {', '.join(sorted(texts))}, state carried." if texts else ""
