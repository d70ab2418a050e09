"""Requests and the files that they stand in."""

import gc
import io
import itertools
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from charlm.data.system.errors import CorpusError, SettingsError
from charlm.infer.batch.prompt_file import (
    SMALL_FILE,
    BadLine,
    count_prompts,
    is_json_lines,
    read_requests,
)
from charlm.infer.request import Request
from charlm.infer.sampling.filters import Filters

DEFAULTS = Request(length=50, temperature=0.5, seed=7, top_k=4, stop=("x",))


def read(content: bytes, *, json_lines: bool) -> list[Request | BadLine]:
    return list(read_requests(io.BytesIO(content), DEFAULTS, json_lines=json_lines))


def one(line: str) -> Request | BadLine:
    (found,) = read(line.encode(), json_lines=True)
    return found


@pytest.mark.parametrize(
    ("content", "prompts"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\nb", ["a", "b"]),
        (b"\n\na\n", ["", "", "a"]),
        (b"\xef\xbb\xbfa\r\n b \r\n", ["a", " b "]),
        ("é\n🦑\n".encode(), ["é", "🦑"]),
    ],
)
def test_a_line_is_a_prompt_and_its_number_its_sample(content: bytes, prompts: list[str]) -> None:
    found = read(content, json_lines=False)
    assert [each.prompt for each in found if isinstance(each, Request)] == prompts
    for number, each in enumerate(found):
        assert isinstance(each, Request)
        assert (each.sample, each.line) == (number, number + 1)
        assert (each.length, each.temperature, each.seed) == (50, 0.5, 7)
        assert (each.top_k, each.stop) == (4, ("x",))


def test_json_lines_say_what_differs() -> None:
    lines = [
        {"prompt": "a"},
        {"prompt": "b", "length": 9, "temperature": 2, "stop": "."},
        {"prompt": "", "seed": 3, "stop": ["a", "b\r\n"], "top_k": 1, "top_p": 0.5, "min_p": 0},
        {"prompt": "c", "sample": 11, "seed": None, "length": None, "temperature": 0},
        {"prompt": "d", "sample": 11, "seed": 2**64 - 1, "stop": []},
    ]
    content = "\n\n".join(json.dumps(line) for line in lines) + "\n \n"
    found = read(content.encode(), json_lines=True)
    assert found == [
        Request("a", 50, 0.5, 7, sample=0, top_k=4, stop=("x",), line=1),
        Request("b", 9, 2.0, 7, sample=2, top_k=4, stop=(".",), line=3),
        Request("", 50, 0.5, 3, 0, top_k=1, top_p=0.5, min_p=0.0, stop=("a", "b\n"), line=5),
        Request("c", 50, 0.0, 7, sample=11, top_k=4, stop=("x",), line=7),
        Request("d", 50, 0.5, 2**64 - 1, sample=11, top_k=4, stop=(), line=9),
    ]


@pytest.mark.parametrize(
    ("line", "saying"),
    [
        ("{", "not JSON: Expecting property name enclosed in double quotes at column 2"),
        ('{"prompt": "a"} {}', "not JSON: Extra data at column 17"),
        ("[]", "not a JSON object, such as"),
        ('"a"', "not a JSON object, such as"),
        ("{}", '"prompt" is missing'),
        ('{"prompt": null}', '"prompt" is not a string'),
        ('{"prompt": 3}', '"prompt" is not a string'),
        ('{"prompt": "a", "lenght": 3}', "unknown key 'lenght'; the keys are prompt, length, "),
        ('{"prompt": "a", "length": -1}', "length is from 0"),
        ('{"prompt": "a", "length": 1e99}', '"length" is not a whole number'),
        ('{"prompt": "a", "length": 3.0}', '"length" is not a whole number'),
        ('{"prompt": "a", "length": true}', '"length" is not a whole number'),
        ('{"prompt": "a", "length": "3"}', '"length" is not a whole number'),
        ('{"prompt": "a", "temperature": "hot"}', '"temperature" is not a number'),
        ('{"prompt": "a", "temperature": -1}', "temperature is 0 (greedy) or between"),
        ('{"prompt": "a", "temperature": NaN}', "not JSON: NaN is not a number"),
        ('{"prompt": "a", "temperature": false}', '"temperature" is not a number'),
        (f'{{"prompt": "a", "temperature": 1{"0" * 400}}}', '"temperature" is too large'),
        (f'{{"prompt": "a", "length": 1{"0" * 5000}}}', "not JSON that can be read"),
        ("[" * 100_000, "not JSON that can be read"),
        ('{"prompt": "a", "seed": -1}', "seed is from 0 to 2^64 - 1, not -1"),
        ('{"prompt": "a", "sample": -1}', "sample is from 0"),
        ('{"prompt": "a", "stop": 3}', '"stop" is not a string or a list of strings'),
        ('{"prompt": "a", "stop": ["b", 3]}', '"stop" is not a string or a list of strings'),
        ('{"prompt": "a", "top_p": 0}', "top_p is above 0"),
        ('{"prompt": "a", "top_k": 1.5}', '"top_k" is not a whole number'),
        ('{"prompt": "a", "prompt": "b"}', "the key 'prompt' stands there twice"),
    ],
)
def test_a_line_that_is_no_request_says_why(line: str, saying: str) -> None:
    found = one(line)
    assert isinstance(found, BadLine)
    assert found.line == 1
    assert saying in str(found.error)
    assert "\n" not in str(found.error)
    assert len(str(found.error)) < 300


@pytest.mark.parametrize("json_lines", [True, False])
def test_a_bad_line_leaves_the_others(json_lines: bool) -> None:
    good = b'{"prompt": "a"}\n'
    found = read(good + b'{"prompt": "\xff"}\n' + good, json_lines=json_lines)
    assert [type(each) for each in found] == [Request, BadLine, Request]
    assert [each.line for each in found] == [1, 2, 3]
    bad = found[1]
    assert isinstance(bad, BadLine)
    assert "not utf-8: byte 0xff at position 12 (invalid start byte)" in str(bad.error)


def test_a_line_that_is_too_long_is_skipped() -> None:
    content = io.BytesIO(b"12345678\n123456789\n123456789012345678\nend\n12345678")
    found = list(read_requests(content, DEFAULTS, json_lines=False, longest=8))
    assert [type(each) for each in found] == [Request, BadLine, BadLine, Request, Request]
    bad, last = found[2], found[4]
    assert isinstance(bad, BadLine)
    assert str(bad.error) == "longer than 8 bytes"
    assert isinstance(last, Request)
    assert (last.prompt, last.line) == ("12345678", 5)


def test_lines_are_read_in_constant_memory() -> None:
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            line = b'{"prompt": "the city"}\n'
            buffer[: len(line)] = line
            return len(line)

    found = read_requests(io.BufferedReader(Endless()), DEFAULTS, json_lines=True)
    held = []
    assert len(list(itertools.islice(found, 100))) == 100  # what is made once
    tracemalloc.start()
    try:
        for count in (1000, 2000):
            assert all(isinstance(each, Request) for each in itertools.islice(found, count))
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # A request takes 350 bytes; other threads of the process may take some, too.
    assert held[1] - held[0] < 2000 * 100


@pytest.mark.parametrize(
    ("name", "wanted", "found"),
    [
        ("a.txt", "auto", False), ("a.jsonl", "auto", True), ("A.JSONL", "auto", True),
        ("a.ndjson", "auto", True), ("a.json", "auto", False), ("-", "auto", False),
        ("-", "jsonl", True), ("a.jsonl", "text", False),
    ],
)  # fmt: skip
def test_json_lines_are_known_by_name_or_wish(name: str, wanted: str, found: bool) -> None:
    assert is_json_lines(name, wanted) is found


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(SettingsError, match="`prompts_format` is one of auto, text, jsonl, not c"):
        is_json_lines("a", "csv")


@pytest.mark.parametrize(
    ("settings", "saying"),
    [
        ({"length": 5.5}, "`length` is a whole number"),
        ({"seed": 1.0}, "`seed` is a whole number"),
        ({"sample": True}, "sample` is a whole number"),
        ({"stop": None}, "stop is text"),
        ({"stop": ("a", 1)}, "a stop string is text"),
        ({"prompt": b"a"}, "the prompt is text"),
        ({"length": -3}, "`length`"),
        ({"length": 1 << 62}, "`length`"),
        ({"seed": -1}, "`seed`"),
        ({"sample": 2**64}, "sample` is"),
        ({"temperature": float("nan")}, "`temperature`"),
        ({"top_k": -1}, "`top_k`"),
        ({"top_p": 1.5}, "`top_p`"),
        ({"min_p": -0.5}, "`min_p`"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, Any], saying: str) -> None:
    with pytest.raises(SettingsError, match=saying):
        Request(**({"prompt": "a"} | settings))


def test_filters_are_those_that_were_asked_for() -> None:
    assert Request("a", top_k=3, top_p=0.5, min_p=0.1).filters == Filters(3, 0.5, 0.1)


def test_a_file_of_another_encoding_is_refused() -> None:
    with pytest.raises(CorpusError, match="standard input are not utf-8, but utf-16"):
        read("a\nb\n".encode("utf-16"), json_lines=False)


def test_a_line_without_end_is_refused() -> None:
    """As of `/dev/zero`."""

    class Zeros(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            assert size
            return bytes(size)

    given = read_requests(Zeros(), Request(), json_lines=False, longest=100, most_passed=1000)
    with pytest.raises(CorpusError, match="no file of prompts"):
        next(given)


def test_a_small_file_of_prompts_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("one\ntwo\nthree", encoding="utf-8")
    assert count_prompts(path) == 3
    path.write_text("one", encoding="utf-8")
    assert count_prompts(path) == 2, "a batch, however small"
    path.write_bytes(b"x\n" * SMALL_FILE)
    assert count_prompts(path) is None
    assert count_prompts(tmp_path / "absent.txt") is None
    assert count_prompts(Path("-")) is None
