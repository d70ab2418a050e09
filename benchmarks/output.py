"""The files of a report: JSON, Markdown and the picture, in one folder."""

from pathlib import Path

from charlm.benchmarks import machine, markdown, plot, suite
from charlm.benchmarks.report import Report
from charlm.benchmarks.timing import Say
from charlm.data.errors import SettingsError
from charlm.data.files import os_errors_as, write_bytes, write_text

ROOT = Path("benchmark-results")


def measure_and_write(plan: suite.Plan, folder: Path | None, say: Say) -> Report:
    """Run a plan and write its report into `folder`; None: a folder named after day and processor.

    Raises:
        SettingsError: the folder can't be written; found out before anything is measured.
        CaseFailedError: the model can't be opened.
    """
    if folder is not None:
        _make(folder)
    report = suite.run(plan, say)
    chosen = folder or ROOT / f"{report.date}-{machine.slug(report.machine.cpu)}"
    _make(chosen)
    for name in write(report, chosen):
        say(f"wrote {chosen / name}")
    return report


def write(report: Report, folder: Path) -> list[str]:
    """Write every file of a report into an existing folder; their names.

    Raises:
        SettingsError: the folder can't be written.
    """
    with os_errors_as(SettingsError, f"can't write into {folder}"):
        write_text(folder / "report.json", report.to_json())
        names = ["report.json", "report.md"]
        pictures = plot.draw(report) or {}
        for kind, content in pictures.items():
            write_bytes(folder / f"speed.{kind}", content)
            names.append(f"speed.{kind}")
        text = markdown.render(report)
        if pictures:
            text += "\n![Characters a second](speed.svg)\n"
        write_text(folder / "report.md", text)
    return names


def _make(folder: Path) -> None:
    with os_errors_as(SettingsError, f"can't make the folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
