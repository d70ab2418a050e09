"""What a package gives out: names that are imported when they are first used, its version, and
its modules as commands.
"""

import sys
from collections.abc import Callable
from importlib import import_module


def version() -> str:
    """charlm's version, as `pyproject.toml` gives it; `"0+source"` where it is not installed."""
    from importlib import metadata  # twenty milliseconds, for those who ask

    try:
        return metadata.version("charlm")
    except metadata.PackageNotFoundError:
        return "0+source"


def command_of(module: str, *arguments: str) -> list[str]:
    """What runs a module of charlm in a process of its own.

    Without -P Python would look for all modules in the current folder first, and run what is there.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def lazily(
    package: str, homes: dict[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__`: its names, and `__version__`.

    Args:
        package: its name.
        homes: the module of the package in which each name stands.
    """

    def find(name: str) -> object:
        if name == "__version__":
            return version()
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return find, lambda: sorted(homes)
