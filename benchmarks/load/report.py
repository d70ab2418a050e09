"""The report of a load test, as JSON and for people."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from charlm.benchmarks.harness.machine import Machine
from charlm.benchmarks.load.peer import CHARACTERS, SLOTS, WEIGHTS, WIDTH
from charlm.benchmarks.load.trials import HalfLoad, LoadResult
from charlm.data.pages.markdown import lay_out
from charlm.data.pages.table import Row, Table, table
from charlm.data.system.files import write_set

JSON, MARKDOWN = "load.json", "load.md"


@dataclass(frozen=True)
class LoadReport:
    """What one run has measured.

    Attributes:
        model: its name.
        options: of `charlm-serve`.
        rounds: of each case.
        llama_version: of llama.cpp's server, where it was asked.
        half: the first character at half of the load that `cases[-1]` had.
    """

    date: str
    machine: Machine
    model: str
    options: Sequence[str]
    rounds: int
    cases: Sequence[LoadResult]
    half: HalfLoad
    llama_version: str = ""

    @property
    def wrong(self) -> int:
        """Texts that were not those of the generator."""
        return self.half.wrong + sum(each.wrong for each in self.cases)


def write(report: LoadReport, folder: Path) -> None:
    """Write both files."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n"
    texts = {folder / JSON: content, folder / MARKDOWN: markdown(report)}
    write_set({path: text.encode() for path, text in texts.items()})


def markdown(report: LoadReport) -> str:
    """The page for people."""
    machine, half = report.machine, report.half
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    texts = half.requests + sum(len(each.rounds) * each.case.requests for each in report.cases)
    options = " ".join(("charlm-serve", report.model, *report.options))
    return f"""# charlm serve under load

{report.date}, {machine.cpu}, {machine.cores} cores, {machine.system}; {versions}.
`{options}`; the clients run on the same cores. Medians of {report.rounds} rounds, in each of which
`Generator.batch` draws the same texts just before, with every core.

{texts:,} texts were drawn; {report.wrong or "none"} differed from the generator's own.

{lay_out(_table(report.cases))}

CPU is of the server, beside that of `Generator.batch` for the same texts. First character: at the
percentiles 50, 90 and 99; of a text that is not streamed it comes with the last.

{_beside(report)}## Half load

At half load, {half.requests_per_second:.0f} requests/s of
{report.cases[-1].case.length} streamed characters, the first character came within
{half.first_ms[0]:.0f} ms (50th percentile), {half.first_ms[1]:.0f} ms (90th) and
{half.first_ms[2]:.0f} ms (99th).
"""


def _table(cases: Sequence[LoadResult]) -> Table:
    heads = ("clients", "requests/s", "characters/s", "of `batch`", "server CPU, µs/character",
             "`batch`", "client", "first character, ms")  # fmt: skip
    return table(heads, [_row(each) for each in cases], (0, 7))


def _beside(report: LoadReport) -> str:
    """What llama.cpp's server did, if it was asked."""
    rows = [_row_beside(each) for each in report.cases if each.peer]
    if not rows:
        return ""
    heads = ("clients", "at once", "requests/s", "characters/s", "charlm serve is faster by",
             "server CPU, µs/character", "first character, ms")  # fmt: skip
    return f"""## llama.cpp's server

Version {report.llama_version}, in the same rounds, on the same cores, with a transformer of one
layer, {WIDTH} wide, of {CHARACTERS} characters: {WEIGHTS:,} random weights are read for each.
It was asked for fewer texts, and draws {SLOTS} at once at most.

{lay_out(table(heads, rows, (0, 6)))}

"""


def _row_beside(result: LoadResult) -> Row:
    case, rounds = result.case, result.peer
    rate = statistics.median(each.requests / each.seconds for each in rounds)
    cpu = statistics.median((each.cpu_seconds or 0) / each.requests for each in rounds)
    percentiles = zip(*(each.first_ms for each in rounds), strict=True)
    first = [statistics.median(each) for each in percentiles]
    return Row((
        case.name, f"{rounds[0].clients:,}", f"{rate:.1f}", f"{rate * case.length:,.0f}",
        f"{result.requests_per_second / rate:.1f}",
        f"{1e6 * cpu / case.length:.1f}" if cpu else "?", _together(first),
    ))  # fmt: skip


def _together(first: Sequence[float]) -> str:
    return " / ".join(f"{each:.0f}" for each in first)


def _row(result: LoadResult) -> Row:
    case, rate = result.case, result.requests_per_second
    per = 1e6 / case.requests / case.length
    server = result.median(lambda each: each.server_cpu_seconds or 0) * per
    batch = result.median(lambda each: each.batch_cpu_seconds) * per
    client = result.median(lambda each: each.client_cpu_seconds) * per
    return Row((
        case.name, f"{rate:.0f}", f"{rate * case.length:,.0f}", f"{result.share:.2f}",
        f"{server:.1f}" if server else "?", f"{batch:.1f}", f"{client:.1f}",
        _together(result.first_ms),
    ))  # fmt: skip
