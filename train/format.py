"""The format that a run's files are written in, checked before they are read."""

from pathlib import Path

from charlm.data.errors import RunError


def check_format(path: Path, found: object, readable: int) -> None:
    """Refuse a file of another format than `readable`.

    Raises:
        RunError: says whether charlm is too old for the file, or the file for charlm.
    """
    if found == readable:
        return
    if isinstance(found, int) and found > readable:
        raise RunError(
            f"{path}: format {found}, of a newer charlm, and this one reads {readable}: "
            "update charlm (pip install --upgrade charlm)"
        )
    raise RunError(f"{path}: format {found}, and this charlm reads {readable}: train again")
