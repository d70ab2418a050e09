"""The files of a report: JSON, HTML, Markdown and its pictures, in one folder."""

from pathlib import Path

from charlm.benchmarks import machine, markdown, page, plot, suite, sweep_plot
from charlm.benchmarks.plan import Plan
from charlm.benchmarks.report import Report
from charlm.benchmarks.timing import Say
from charlm.data.errors import SettingsError
from charlm.data.files import os_errors_as, write_bytes

ROOT = Path("benchmark-results")


def measure_and_write(plan: Plan, folder: Path | None, say: Say) -> Report:
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
    pictures = _pictures(report)
    files = {
        "report.json": report.to_json().encode(),
        "report.html": page.render(report).encode(),
        "report.md": markdown.render(report, list(pictures)).encode(),
        **pictures,
    }
    with os_errors_as(SettingsError, f"can't write into {folder}"):
        for name, content in files.items():
            write_bytes(folder / name, content)
    return list(files)


def render(report: Report, folder: Path) -> list[str]:
    """Write every file of a report that was measured before; their names.

    Raises:
        SettingsError: the folder can't be made or written.
    """
    _make(folder)
    return write(report, folder)


def _pictures(report: Report) -> dict[str, bytes]:
    """The pictures of the Markdown by their files' names."""
    speeds = plot.draw(report) or {}
    sweeps = {f"{sweep.name}.svg": sweep_plot.draw(sweep) for sweep in report.sweeps}
    found = {f"speed.{kind}": content for kind, content in speeds.items()}
    return found | {name: content for name, content in sweeps.items() if content is not None}


def _make(folder: Path) -> None:
    with os_errors_as(SettingsError, f"can't make the folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
