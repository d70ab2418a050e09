"""Making a report, from a run folder to its files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch

from charlm.data.system.cores import check_threads
from charlm.data.system.errors import RunError, SettingsError
from charlm.data.system.extras import require
from charlm.data.system.files import os_errors_as, write_set
from charlm.train import report
from charlm.train.config import SEEDS
from charlm.train.report import page, pictures
from charlm.train.report.advice import advise
from charlm.train.report.measure import Evidence, Say, choose_extent, measure, seconds_for
from charlm.train.report.subject import read_subject
from charlm.train.runs.lock import nearest_folder

LEAST_SAMPLE, MOST_SAMPLE = 1000, 5_000_000


@dataclass(frozen=True)
class ReportRequest:
    """What a user asked for; None wherever nothing was said."""

    folder: Path  # of the run
    texts: Sequence[Path] = ()  # where its text is now; empty for where it was
    out: Path | None = None  # where the files go; the run folder
    sample: int | None = None  # characters to draw at temperature 1
    # What measuring may take, roughly; a tenth of the training, within bounds.
    seconds: float | None = None
    seed: int = 0  # of the samples
    threads: int = 1  # of the CPU

    def __post_init__(self) -> None:
        if self.sample is not None and not LEAST_SAMPLE <= self.sample <= MOST_SAMPLE:
            raise SettingsError(
                f"`sample` is from {LEAST_SAMPLE:,} to {MOST_SAMPLE:,}, not {self.sample}"
            )
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise SettingsError(f"`seconds` is a number above 0, not {self.seconds}")
        if not 0 <= self.seed < SEEDS:
            raise SettingsError(f"`seed` is at least 0 and below 2^63, not {self.seed}")
        check_threads(self.threads)


class WrittenReport(NamedTuple):
    """A report that was written: what it says, and its page."""

    evidence: Evidence
    page: Path


def make_report(request: ReportRequest, say: Say) -> WrittenReport:
    """Measure a run and write its report; `say` is told what is being done.

    Raises:
        RunError: there is no run, it is damaged, its text is gone or another, or the files can't
            be written or would replace what is no report.
        CorpusError: the text can't be read.
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "train")
    say("reading the run and its text")
    out = request.out or request.folder
    subject = read_subject(request.folder, request.texts, nearest_folder(out))
    _check_replaced(out)
    with os_errors_as(RunError, f"can't write the report into {out}"):
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".report.tmp"  # found out before anything is measured
        probe.touch()
        probe.unlink()
    torch.set_num_threads(request.threads)
    sizes = len(subject.splits.train), len(subject.splits.test)
    seconds = request.seconds or seconds_for(subject.results.get("seconds"))
    extent = choose_extent(subject.run.model.config, *sizes, seconds, request.sample)
    measured = measure(subject, extent, request.seed, say)
    evidence = replace(measured, advice=advise(subject, measured))
    say("writing")
    write(evidence, out)
    return WrittenReport(evidence, out / report.PAGE)


def write(evidence: Evidence, folder: Path) -> None:
    """Write every file of a report into an existing folder; no reader finds old beside new.

    Raises:
        RunError: the folder can't be written, or the disk is full.
    """
    drawn = pictures.draw_all(evidence)
    contents = {
        report.FIGURES: evidence.to_json(),
        report.PAGE: page.html_page(evidence, drawn),
        report.TEXT: page.markdown(evidence),
    }
    with os_errors_as(RunError, f"can't write the report into {folder}"):
        write_set(
            {  # a folder's name need not be Unicode
                folder / name: content.encode(errors="backslashreplace")
                for name, content in contents.items()
            }
        )


def _check_replaced(folder: Path) -> None:
    """Only an earlier report is replaced.

    Raises:
        RunError: files of others have its names.
    """
    there = [name for name in report.ALL if (folder / name).exists()]
    try:
        found = json.loads((folder / report.FIGURES).read_bytes())
        ours = isinstance(found, dict) and "extent" in found
    except (OSError, ValueError):
        ours = False
    if there and not ours:
        raise RunError(
            f"{folder} holds {', '.join(there)} of something else than a report: move that away, "
            "or name another folder with `out`"
        )
