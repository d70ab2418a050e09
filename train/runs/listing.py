"""The runs in a folder, side by side, by what `config.json` says of each; no Torch is imported."""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from charlm.data.system.errors import RunError
from charlm.train.runs import CONFIG, LOCK, STATE, WEIGHTS

COLUMNS = ("run", "text", "model", "epochs", "minutes", "test bits", "state")
LEFT = {"run", "text", "model", "state"}  # columns of words; figures stand to the right


@dataclass(frozen=True)
class Listed:
    """A run as far as its files say; `None` where they don't."""

    folder: str
    state: str  # `finished`, `running`, `imported`, `stopped at N %`, `no epoch yet` or `damaged`
    text: str | None = None
    corpus_sha256: str | None = None  # of the text; bits compare runs of one text
    layers: int | None = None
    hidden: int | None = None
    epochs: float | None = None
    best_epoch: float | None = None
    minutes: float | None = None
    validation_bits: float | None = None
    test_bits: float | None = None

    def cells(self) -> tuple[str, ...]:
        """What stands in each of `COLUMNS`."""
        model = f"{self.layers} x LSTM({self.hidden})" if self.layers else ""
        minutes = "" if self.minutes is None else f"{self.minutes:.1f}"
        bits = "" if self.test_bits is None else f"{self.test_bits:.3f}"
        epochs = "" if self.epochs is None else f"{self.epochs:.3g}"
        return (self.folder, self.text or "", model, epochs, minutes, bits, self.state)


def list_runs(root: Path) -> list[Listed]:
    """The runs in the folders of `root`: those of one text together, the best of them first.

    Raises:
        RunError: there is none.
    """
    folders = {path.parent for name in (CONFIG, STATE) for path in root.glob(f"*/{name}")}
    if not folders:
        raise RunError(f"no run in {root}: train one with charlm-train, or name another folder")
    return sorted(map(_read, folders), key=_place)


def table(runs: Iterable[Listed]) -> list[str]:
    """Lines for people: a heading, and a run each."""
    rows = [COLUMNS, *(each.cells() for each in runs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if name in LEFT else cell.rjust(width)
            for cell, width, name in zip(row, widths, COLUMNS, strict=True)
        ).rstrip()
        for row in rows
    ]


def _place(run: Listed) -> tuple[object, ...]:
    text = (not run.text, run.text or "", run.corpus_sha256 or "")
    return (*text, run.test_bits is None, run.test_bits or 0, run.folder)


def _read(folder: Path) -> Listed:
    path = folder / CONFIG
    try:
        if path.exists():
            run = _described(folder, path)
        else:
            lost = (folder / WEIGHTS).exists()
            run = Listed(str(folder), "damaged" if lost else "no epoch yet")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Listed(str(folder), "damaged")
    return replace(run, state="running") if _is_held(folder / LOCK) else run


def _described(folder: Path, path: Path) -> Listed:
    config = json.loads(path.read_text(encoding="utf-8"))
    model, results = config["model"], config["results"]
    imported = "source" in config["training"]
    seconds, total = results.get("seconds"), results.get("total_steps")
    state = "imported" if imported else "finished"
    if not (imported or results["finished"]):
        state = f"stopped at {100 * results['steps'] // total} %" if total else "stopped"
    return Listed(
        str(folder),
        state,
        text=", ".join(config["corpus"].get("files", ())),
        corpus_sha256=config["corpus"].get("sha256"),
        layers=int(model["layers"]),
        hidden=int(model["hidden"]),
        epochs=results.get("epochs"),
        best_epoch=results.get("best_epoch"),
        minutes=None if seconds is None else round(seconds / 60, 2),
        validation_bits=results.get("validation_bits_per_character"),
        test_bits=results.get("test_bits_per_character"),
    )


def _is_held(lock: Path) -> bool:
    """Whether a process trains there now: it holds the lock, which a killed one does not."""
    with suppress(ImportError, FileNotFoundError):  # of Windows, where nothing is locked
        import fcntl

        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
    return False
