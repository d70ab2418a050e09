"""`python -m tests.crashes`: strike training runs, and say whether resuming is exact."""

import os
import warnings
from typing import Annotated

import typer

from charlm.data.system import console
from charlm.data.system.errors import SettingsError, TrainingError

app = console.make_app()


@app.command()
def strike(
    times: Annotated[int, typer.Option(help="Kills; faults of the disk come on top.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Kill training, fill its disk, close its folder; resume; compare with an unbroken run."""
    if not hasattr(os, "fork"):
        raise SettingsError("this needs fork and SIGKILL, which this system lacks")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"  # a process with threads can't be forked safely
    warnings.simplefilter("ignore", DeprecationWarning)  # says so, of threads that do nothing
    # What every training process would import.
    import torch

    from charlm.train import run
    from tests.crashes.campaign import wage

    del run
    torch.set_num_threads(1)
    done = wage(times, seed, lambda hit: console.say(str(hit)))
    for kind in sorted({hit.kind for hit in done.strikes}):
        hits = [hit for hit in done.strikes if hit.kind == kind]
        typer.echo(
            f"{kind}: {len(hits)} strikes, {sum(hit.saving for hit in hits)} left a temporary "
            f"file, {sum(hit.resumed for hit in hits)} on a resumed run"
        )
    typer.echo(f"{done.runs} runs were brought to their end; {len(done.different)} differ")
    for wrong in (*done.different, *(hit.wrong for hit in done.strikes if hit.wrong)):
        typer.echo(wrong)
    if not done.passed:
        raise TrainingError("resuming was not exact, or left something unreadable: see above")


if __name__ == "__main__":
    console.run(app, "crashes")
