"""Making a report, from a run folder to its files."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from charlm.data.pages.markdown import lay_out
from charlm.data.system.cores import check_threads
from charlm.data.system.errors import RunError, SettingsError
from charlm.data.system.extras import require
from charlm.data.system.files import os_errors_as, write_set
from charlm.train.config import SEEDS
from charlm.train.report import extent, files, page, pictures
from charlm.train.report.advice import advise
from charlm.train.report.evidence import Evidence
from charlm.train.report.files import picture
from charlm.train.report.measure import Say, measure
from charlm.train.report.sections import Quote, Section, sections, verdict
from charlm.train.report.subject import Subject, read_subject
from charlm.train.runs.make_folder import nearest_folder


def render(evidence: Evidence, pictures: Collection[str]) -> str:
    """The report, ready to be read on its own.

    Args:
        evidence: what was measured.
        pictures: those that were drawn, by the names of `files.PICTURES`.
    """
    parts = [f"# charlm report: {evidence.name}", verdict(evidence)]
    for section in sections(evidence):
        parts += _section(section, pictures)
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(section: Section, pictures: Collection[str]) -> list[str]:
    parts = [f"## {section.title}", *section.says]
    if section.advice:
        parts.append("\n".join(
            f"1. **{what}**: {because}." + (f"\n   `{command}`" if command else "")
            for what, because, command in section.advice
        ))  # fmt: skip
    if section.picture and section.picture[0] in pictures:
        name, label = section.picture
        parts.append(f"![{label}]({picture(name)})")
    if section.table is not None:
        parts.append(lay_out(section.table))
    return parts + [_quote(quote) for quote in section.quotes]


def _quote(quote: Quote) -> str:
    """A text between fences that are longer than any that it holds."""
    longest = max((len(run) for run in re.findall("`+", quote.text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{quote.title}:\n\n{fence}text\n{quote.text}\n{fence}"


LEAST_SAMPLE, MOST_SAMPLE = 1000, 5_000_000


@dataclass(frozen=True)
class Request:
    """What a user asked for; None wherever nothing was said.

    Attributes:
        folder: of the run.
        texts: where its text is now; empty for where it was.
        out: where the files go; the run folder.
        sample: characters to draw at temperature 1.
        seconds: what measuring may take, roughly; a tenth of the training, within bounds.
        seed: of the samples.
        threads: of the CPU.
    """

    folder: Path
    texts: Sequence[Path] = ()
    out: Path | None = None
    sample: int | None = None
    seconds: float | None = None
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        if self.sample is not None and not LEAST_SAMPLE <= self.sample <= MOST_SAMPLE:
            raise SettingsError(
                f"--sample is from {LEAST_SAMPLE:,} to {MOST_SAMPLE:,}, not {self.sample}"
            )
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise SettingsError(f"--seconds is a number above 0, not {self.seconds}")
        if not 0 <= self.seed < SEEDS:
            raise SettingsError(f"--seed is at least 0 and below 2^63, not {self.seed}")
        check_threads(self.threads)


@dataclass(frozen=True)
class Report:
    """A report that was written: what it says, and its page."""

    evidence: Evidence
    page: Path


def make_report(request: Request, say: Say) -> Report:
    """Measure a run and write its report; `say` is told what is being done.

    Raises:
        RunError: there is no run, it is damaged, its text is gone or another, or the files can't
            be written.
        CorpusError: the text can't be read.
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "train")
    say("reading the run and its text")
    out = request.out or request.folder
    subject = read_subject(request.folder, request.texts, nearest_folder(out))
    _make(out)
    torch.set_num_threads(request.threads)
    chosen = extent.choose(
        subject.run.model.config,
        len(subject.splits.train),
        len(subject.splits.test),
        request.seconds or extent.seconds_for(_trained(subject)),
        request.sample,
    )
    measured = measure(subject, chosen, request.seed, say)
    evidence = replace(measured, advice=advise(subject, measured))
    say("writing")
    write(evidence, out)
    return Report(evidence, out / files.PAGE)


def write(evidence: Evidence, folder: Path) -> None:
    """Write every file of a report into an existing folder; no reader finds old beside new.

    Raises:
        RunError: the folder can't be written, or the disk is full.
    """
    drawn = pictures.draw_all(evidence)
    contents = {
        files.FIGURES: evidence.to_json().encode(),
        files.PAGE: page.render(evidence, drawn).encode(),
        files.TEXT: render(evidence, drawn).encode(),
        **{files.picture(name): picture for name, picture in drawn.items()},
    }
    with os_errors_as(RunError, f"can't write the report into {folder}"):
        write_set(
            {folder / name: content for name, content in contents.items()},
            superseded=[folder / name for name in files.ALL if name not in contents],
        )


def _make(folder: Path) -> None:
    """A folder that can be written; found out before anything is measured."""
    with os_errors_as(RunError, f"can't write the report into {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".report.tmp"
        probe.touch()
        probe.unlink()


def _trained(subject: Subject) -> float | None:
    seconds = subject.results.get("seconds")
    return None if seconds is None else float(seconds)
