"""`python -m charlm.benchmarks.load`: start a server, load it, report."""

import contextlib
import datetime
from pathlib import Path
from typing import Annotated

import typer

from charlm.benchmarks.harness import machine
from charlm.benchmarks.load import report as reports
from charlm.benchmarks.load.client import ask_all, http_request, run
from charlm.benchmarks.load.peer import llama_serving, llama_version
from charlm.benchmarks.load.server import serving
from charlm.benchmarks.load.trials import LoadCase, half_load, measure
from charlm.data.system import console
from charlm.data.system.errors import CharlmError
from charlm.infer.generator import Generator

ROUNDS, HALF_LOAD_SECONDS = 5, 20.0
CASES = (
    LoadCase("1,000 streams at once of 2,000", 1000, 1000, 2000, True),
    LoadCase("1,000 streams at once of 300", 1000, 1000, 300, True, 256),
    LoadCase("64 streams of 2,000", 64, 192, 2000, True),
    LoadCase("64 clients, texts of 300", 64, 1000, 300, False, 128),
    LoadCase("64 clients, texts of 1", 64, 2000, 1, False, 1000),
    LoadCase("64 clients, texts of 200", 64, 1000, 200, False, 128),
    # The last one: half of it is asked for, too.
    LoadCase("64 streams of 200", 64, 1000, 200, True, 128),
)
app = console.make_app()


@app.command()
def load(
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path(
        "benchmark-results/load"
    ),
    model: Annotated[str, typer.Option(help="As charlm-serve takes it.")] = "lovecraft",
    rounds: Annotated[int, typer.Option(min=1, help="Of each case.")] = ROUNDS,
    serve: Annotated[
        str, typer.Option(help='Further options of charlm-serve, as in "--threads 1".')
    ] = "",
    llama_server: Annotated[
        str | None, typer.Option(help="Path of llama.cpp's server: load it, too.")
    ] = None,
    debug: console.Debug = False,
) -> None:
    """Load a server of this machine; hold every text against the generator's own.

    The clients are ours, and lean: they share the cores with what they measure.
    """
    del debug
    generator, options = Generator.open(model), serve.split()
    results = []
    with contextlib.ExitStack() as running:
        peer = running.enter_context(llama_serving(llama_server)) if llama_server else None
        server = running.enter_context(serving(model, *options))
        for case in CASES:
            warm = [http_request(each, case.stream) for each in case.texts(1 << 32)[:100]]
            run(ask_all(server.port, warm, 50))
            results.append(result := measure(case, generator, server, rounds, peer))
            console.say(f"{case.name}: {result.requests_per_second:.0f} requests/s, "
                        f"{result.share:.2f} of batch, {result.wrong} wrong")  # fmt: skip
        rate = results[-1].requests_per_second
        half = half_load(CASES[-1], generator, server, rate, HALF_LOAD_SECONDS)
    report = reports.LoadReport(
        datetime.datetime.now(datetime.UTC).date().isoformat(), machine.describe("cpu"), model,
        options, rounds, results, half, llama_version(llama_server) if llama_server else "",
    )  # fmt: skip
    reports.write(report, out)
    print(reports.markdown(report))
    if report.wrong:
        raise CharlmError(f"{report.wrong} texts were lost, mixed or changed")


if __name__ == "__main__":
    console.run(app, "load")
