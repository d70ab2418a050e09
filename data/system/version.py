"""The version of the installed charlm."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version


def version() -> str:
    """The version, as `pyproject.toml` gives it; `"0+source"` where charlm is not installed."""
    try:
        return installed_version("charlm")
    except PackageNotFoundError:
        return "0+source"
