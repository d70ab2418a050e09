"""What differs where a run is gone on with: what can't be helped, and what is asked about."""

import sys
from pathlib import Path

from charlm.data import console
from charlm.data.errors import RunError

_SHAPE = "the weights have that shape"
_IDS = "the text would have other token ids"
WHY_FIXED = {
    "hidden": _SHAPE,
    "layers": _SHAPE,
    "recipe": "the recipes read the text in different ways",
    "optimiser": "what it remembers is of another kind",
    "final": "what was held out would be learnt from, or the other way round",
    "seed": "the weights have been drawn",
    "encoding": _IDS,
    "normalisation": _IDS,
    "rare": _IDS,
}
"""Why these can't change in the middle of a run."""


def refuse_fixed(folder: Path, changed: dict[str, str]) -> None:
    """Refuse what can't change.

    Args:
        folder: the run's.
        changed: by setting, `--name old, not new`.

    Raises:
        RunError: names what can't, and why.
    """
    fixed = [f"{text} ({WHY_FIXED[name]})" for name, text in changed.items() if name in WHY_FIXED]
    if fixed:
        raise RunError(
            f"{folder} was begun with {'; '.join(fixed)}: leave that out to go on with it, or "
            "train into another folder with --out"
        )


def agree(folder: Path, found: list[str], consequence: str, accepted: bool) -> None:
    """Say what differs, and have it agreed to: by `accepted`, or by who sits at the terminal.

    Args:
        folder: the run's.
        found: what differs, each as `name old, not new`.
        consequence: of going on all the same; empty where there is nothing to say of it.
        accepted: don't ask.

    Raises:
        RunError: nobody did.
    """
    if not found:
        return
    asks = not accepted and sys.stdin is not None and sys.stdin.isatty()
    if not accepted and not asks:
        raise RunError(
            f"{folder} was begun with {'; '.join(found)}: to go on with it as it was, undo that; "
            f"to go on all the same{consequence and f' ({consequence})'}, say --accept-changes"
        )
    for each in found:
        console.say(f"{folder} was begun with {each}")
    if consequence:
        console.say(f"{folder}: {consequence}")
    if asks and not _says_yes():
        raise RunError(f"{folder} was left as it is")


def _says_yes() -> bool:
    print("go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
