"""Frozen dataclasses out of JSON, by their own annotations: its lists become tuples."""

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def read(kind: Any, value: Any) -> Any:
    """`value`, as `json.loads` gives it, in the form that the annotation `kind` names.

    Raises:
        TypeError, KeyError: it does not have that form, or a field is missing or unknown.
    """
    if is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (kind,) = (each for each in inner if each is not type(None))
        return read(kind, value)
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(f"a list is expected, not {str(value)[:40]!r}")
        return tuple(read(inner[0], each) for each in value)
    if origin is dict:
        return {name: read(inner[1], each) for name, each in _mapping("dict", value).items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} is expected, not {str(value)[:40]!r}")
    return value


def _dataclass(kind: type, value: Any) -> Any:
    value = _mapping(kind.__name__, value)
    kinds = typing.get_type_hints(kind)
    known = {field.name for field in fields(kind)}
    if unknown := value.keys() - known:
        raise TypeError(f"{kind.__name__}: unknown {', '.join(sorted(unknown))}")
    return kind(**{name: read(kinds[name], each) for name, each in value.items()})


def _mapping(kind: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{kind}: an object is expected, not {str(value)[:40]!r}")
    return value
