"""The format that a run's files are written in, checked before anything of them is used."""

import math
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import torch
from torch import Tensor

from charlm.data.system.errors import RunError

NAMES = {int: "a whole number", float: "a finite number", str: "a text", bool: "true or false",
         dict: "an object", list: "a list", type(None): "null"}  # fmt: skip


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


def check_types(value: Any, hint: Any, where: str) -> None:
    """Whether what was read from a file is what a type hint says, with all that is in it.

    Args:
        value: of JSON, or of `torch.load`; also a dataclass made from that.
        hint: a class, a TypedDict, a dataclass, or a union, dict, list, tuple or Literal of such.
        where: what to call it; empty for a whole object, whose parts have names of their own.

    Raises:
        ValueError: names the part that is missing or of another type, or a float not finite.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        fitting = [each for each in inner if isinstance(value, get_origin(each) or _plain(each))]
        if not fitting:
            raise ValueError(f"{where} is not {' or '.join(map(_named, inner))}: {_shown(value)}")
        check_types(value, fitting[0], where)
    elif origin is Literal:
        if value not in inner:
            raise ValueError(f"{where} is not one of {', '.join(map(str, inner))}: {_shown(value)}")
    elif not _is(value, _plain(origin or hint)):
        raise ValueError(f"{where} is not {_named(hint)}: {_shown(value)}")
    elif is_typeddict(hint) or is_dataclass(hint):
        found = value if isinstance(value, dict) else vars(value)
        for name, each in get_type_hints(hint).items():
            part = f"{where}.{name}".removeprefix(".")
            if name in found:
                check_types(found[name], each, part)
            elif name in getattr(hint, "__required_keys__", ()):
                raise ValueError(f"{part} is missing")
    elif origin is dict:
        for name, each in value.items():
            check_types(name, inner[0], f"a name in {where}")
            check_types(each, inner[1], f"{where}.{name}")
    elif origin in (list, tuple):
        many = origin is list or inner[-1] is Ellipsis
        if not many and len(value) != len(inner):
            raise ValueError(f"{where} has {len(value)} parts, not {len(inner)}")
        for number, each in enumerate(value):
            check_types(each, inner[0] if many else inner[number], f"{where}[{number}]")


def check_tensors(
    found: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]], where: str
) -> None:
    """Whether tensors are finite float32 of the shapes that are wanted, no more and no fewer.

    Raises:
        ValueError: names the first that is not.
    """
    of = f"{where}: " if where else ""
    for name in sorted(found.keys() | wanted.keys()):
        if name not in found:
            raise ValueError(f"{where or 'it'} has no {name}")
        if name not in wanted:
            raise ValueError(f"{where or 'it'} has {name}, which the model has not")
        if tuple(found[name].shape) != wanted[name]:
            shape = list(found[name].shape)
            raise ValueError(f"{of}{name} is {shape}, not {list(wanted[name])}")
        if found[name].dtype != torch.float32:
            raise ValueError(f"{of}{name} is {found[name].dtype}, not {torch.float32}")
        if not found[name].isfinite().all():
            raise ValueError(f"{of}{name} holds numbers that are not finite")


def _plain(hint: Any) -> Any:
    """The class that `isinstance` takes."""
    if hint is Any:
        return object
    return dict if is_typeddict(hint) else (int, float) if hint is float else hint


def _is(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):  # an int, to Python
        return kind in (bool, object)
    if kind == (int, float):
        return isinstance(value, kind) and abs(value) < 1e300 and math.isfinite(value)
    return isinstance(value, kind)


def _named(hint: Any) -> str:
    hint = get_origin(hint) or (dict if is_typeddict(hint) else hint)
    return NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def _shown(value: object) -> str:
    return repr(value)[:60]
