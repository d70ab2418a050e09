"""Dataclasses out of JSON: what they were, or an error that says what was expected."""

import json
from dataclasses import asdict, dataclass

import pytest

from charlm.benchmarks.report import report


@dataclass(frozen=True)
class Inner:
    x: float
    name: str = "n"


@dataclass(frozen=True)
class Outer:
    inner: Inner
    many: tuple[Inner, ...] = ()
    rates: tuple[float, ...] = ()
    maybe: Inner | None = None
    versions: dict[str, str] | None = None


WHOLE = Outer(Inner(1.5), (Inner(2.0, "b"), Inner(3.0)), (1.0, 2.5), None, {"a": "1"})


def test_what_was_written_is_read() -> None:
    assert report.read(Outer, json.loads(json.dumps(asdict(WHOLE)))) == WHOLE


def test_a_whole_number_may_stand_for_a_float() -> None:
    found = report.read(Outer, {"inner": {"x": 2}})
    assert isinstance(found.inner.x, float)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "an object is expected"),
        ({}, "inner"),
        ({"inner": {"x": "1"}}, "float is expected"),
        ({"inner": {"x": True}}, "float is expected"),
        ({"inner": {"x": 1.0, "y": 2}}, "unknown y"),
        ({"inner": {"x": 1.0}, "rates": "12"}, "a list is expected"),
        ({"inner": {"x": 1.0}, "many": [1]}, "an object is expected"),
        ({"inner": {"x": 1.0}, "versions": "12"}, "an object is expected"),
    ],
)
def test_another_form_is_refused(values: object, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        report.read(Outer, values)
