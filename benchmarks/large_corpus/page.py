"""The report: what training took of memory, with a text of gigabytes and with a small one."""

from statistics import median

from charlm.benchmarks.large_corpus.watch import Sample, Watched
from charlm.benchmarks.machine import Machine

MIB = 1 << 20
WARM_UP = 10.0  # seconds of training that are left out: Torch loads what it needs at first use
ROWS = 24  # at the most, of the course of the memory
SHOWN = ("charlm", "python", "torch", "numpy")
HEAD = """# Memory of training on a large corpus

`charlm-train` on a synthetic text, its own memory (RssAnon) and its mapped files (RssFile) looked
at twice a second. The ids of the large text stand in a file that is mapped; the system can take
those pages back whenever it needs memory. Figures of training are from ten seconds after its first
step to its end, evaluation of held-out text included.
"""


def steady(watched: Watched) -> list[Sample]:
    """The samples after the warm-up."""
    training = [sample for sample in watched.samples if sample.training]
    return [s for s in training if s.seconds > training[0].seconds + WARM_UP]


def as_markdown(runs: dict[int, Watched], command: str, machine: Machine) -> str:
    """The whole report.

    Args:
        runs: by the text's bytes.
        command: that makes the report.
        machine: where it was made.
    """
    versions = ", ".join(f"{name} {machine.versions[name]}" for name in SHOWN)
    lines = [
        HEAD,
        "| text, MB | RssAnon training, median, MiB | max − min, MiB | RssAnon reading, "
        "most, MiB | RssFile training, most, MiB | reading, s | training, s |",
        "| --: | --: | --: | --: | --: | --: | --: |",
        *(_row(size, runs[size]) for size in sorted(runs)),
        "",
        f"The course of the memory, {max(runs) / 1e6:,.0f} MB:",
        "",
        "| s | doing | RssAnon, MiB | RssFile, MiB |",
        "| --: | --- | --: | --: |",
        *_course(runs[max(runs)].samples),
        "",
        f"`{command}` on {machine.cpu}, {machine.system}; {versions}.",
        "",
        "What the larger run said:",
        "",
        "```",
        *(line.rstrip() for line in runs[max(runs)].errors.splitlines()),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _row(size: int, watched: Watched) -> str:
    reading = [sample for sample in watched.samples if not sample.training]
    training = steady(watched)
    own = [sample.anonymous for sample in training]
    begins = next(sample.seconds for sample in watched.samples if sample.training)
    figures = [
        f"{size / 1e6:,.0f}",
        f"{median(own) / MIB:.1f}",
        f"{(max(own) - min(own)) / MIB:.1f}",
        f"{max(sample.anonymous for sample in reading) / MIB:.1f}",
        f"{max(sample.mapped for sample in training) / MIB:,.0f}",
        f"{begins:.0f}",
        f"{watched.samples[-1].seconds - begins:.0f}",
    ]
    return f"| {' | '.join(figures)} |"


def _course(samples: list[Sample]) -> list[str]:
    step = -(-len(samples) // ROWS)
    return [
        f"| {s.seconds:.0f} | {'training' if s.training else 'reading'} | "
        f"{s.anonymous / MIB:.1f} | {s.mapped / MIB:,.0f} |"
        for s in samples[::step]
    ]
