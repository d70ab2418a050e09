"""Names that a package gives out, imported when they are first used."""

from collections.abc import Callable
from importlib import import_module

from charlm.data.system.version import version


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
