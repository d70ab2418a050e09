"""`charlm-serve`: parse, open, serve until told to end."""

import os
import socket
import sys
from typing import Annotated

import typer

from charlm.data.system import console
from charlm.data.system.errors import SettingsError
from charlm.infer.cli import shared as cli_shared

GROUPS = {
    "Address": "host port api_key",
    "Limits": "streams queue texts length body seconds drain",
    "Text": "unknown",
    "Hardware": "provider threads precision workers",
}
EXAMPLES = {
    "charlm-serve model.onnx": "A model of yours at http://127.0.0.1:8000:",
    "charlm-serve lovecraft lovecraft-large --port 0": "Two models that ship, at a free port:",
    "CHARLM_API_KEY=secret charlm-serve --host 0.0.0.0": "For other machines, with a key:",
}
KEY = "CHARLM_API_KEY"
MAX_WORKERS = 256  # more is a slip of the hand
app = console.make_app()


@app.command(cls=console.grouped(GROUPS, EXAMPLES))
def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL...]",
            help="Model files, or lovecraft or lovecraft-large, which ship; their names are those "
            "of the files.",
            show_default="./model.onnx, else lovecraft",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Where it listens; 0.0.0.0: everywhere.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(
            help=f"What clients must show; better in the variable {KEY}, which others can't see.",
            show_default="none",
        ),
    ] = None,
    streams: Annotated[
        int | None,
        typer.Option(
            help="Texts drawn side by side.",
            show_default="256 a thread, or a multiprocessor of a GPU",
        ),
    ] = None,
    queue: Annotated[int, typer.Option(help="Texts that may wait beside them.")] = 2048,
    texts: Annotated[int, typer.Option(help="Texts of one request.")] = 256,
    length: Annotated[int, typer.Option(help="Characters of one text.")] = 100_000,
    body: Annotated[int, typer.Option(help="Bytes of a request.")] = 1 << 20,
    seconds: Annotated[int, typer.Option(help="That a request may take.")] = 300,
    drain: Annotated[
        int, typer.Option(help="Seconds that requests have once the server is told to end.")
    ] = 30,
    unknown: cli_shared.Unknown = None,
    provider: cli_shared.Provider = "auto",
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of a worker.", show_default="one a core")
    ] = None,
    precision: cli_shared.Precision = "float32",
    workers: Annotated[int, typer.Option(help="Processes that share the port, and the cores.")] = 1,
    debug: console.Debug = False,
    version: console.Version = False,
) -> None:
    """Serve models over HTTP, as OpenAI's completions, with a playground at /.

    It ends what runs on SIGTERM or Ctrl-C. Its log is a line of JSON for each request, on stderr,
    without prompts or texts.
    """
    del debug, version
    from charlm.data.system.cores import check_threads, usable_cores
    from charlm.data.system.extras import require_there
    from charlm.data.system.package import command_of
    from charlm.infer.serve.settings import LOOPBACK, Limits, is_loopback

    require_there("serve", "fastapi", "uvicorn", "prometheus_client")
    check_threads(threads)
    if not 1 <= workers <= MAX_WORKERS:
        raise SettingsError(f"`workers` is from 1 to {MAX_WORKERS}, not {workers}")
    key = os.environ.get(KEY) if api_key is None else api_key
    if key == "":
        raise SettingsError(f"`api_key` (or {KEY}) is empty: leave both out to ask for none")
    limits = Limits(
        streams=streams, queue=queue, texts=texts, length=length, body=body, seconds=seconds,
        drain=drain, key=key, unknown=unknown,
        hosts=(*LOOPBACK, host) if is_loopback(host) and key is None else (),
    )  # fmt: skip
    from charlm.infer.serve.http import process
    from charlm.infer.serve.service import Service, open_models

    descriptor = os.environ.get(process.DESCRIPTOR)
    if descriptor is None:
        listening = process.open_socket(host, port, seconds)
        if key is None and not is_loopback(host):
            console.say(
                f"charlm-serve: whoever reaches {host} may use this server: --api-key asks for a "
                "key"
            )
    else:
        try:
            listening = socket.socket(fileno=int(descriptor))
        except (OSError, OverflowError, ValueError) as problem:
            told = f"{process.DESCRIPTOR} is for workers, and leads to no socket here: unset it"
            raise SettingsError(told) from problem
    given = models or []
    with listening:
        if workers > 1 and descriptor is None:
            shared = threads or max(1, usable_cores() // workers)
            open_models(given, provider, shared, precision, limits)  # mistakes: told once
            again = command_of("charlm.infer.cli.serve", "--threads", str(shared), *sys.argv[1:])
            raise typer.Exit(process.supervise(again, workers, listening, drain))
        generators = open_models(given, provider, threads, precision, limits)
        devices = ", ".join(f"{name} ({each.model.device})" for name, each in generators.items())
        ready = f"charlm-serve: {devices} at {process.address_of(listening)}"
        parent = None if descriptor is None else os.getppid()
        raise typer.Exit(process.run(Service(generators, limits), listening, ready, parent))


def main() -> None:
    """Entry point of the command."""
    console.run(app, "charlm-serve", quick_exit=True)


if __name__ == "__main__":
    main()
