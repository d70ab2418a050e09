"""Files of requests: a prompt a line, or JSON Lines."""

import codecs
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from charlm.data.system.errors import CharlmError, CorpusError, RequestError, SettingsError
from charlm.data.text.normalise import with_lf
from charlm.infer.request import Request

MAX_LINE_BYTES = 1 << 26  # a longer line is a file of something else
MAX_PASSED_BYTES = 1 << 30  # of such a line: then the file may have no end
SMALL_FILE = 1 << 20  # bytes: a longer file of prompts is work enough for anything
FORMATS = ("auto", "text", "jsonl")
JSON_LINES_ENDINGS = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class BadLine:
    """A line that is no request.

    Attributes:
        line: its number, from 1.
        error: why.
    """

    line: int
    error: CharlmError


def read_requests(
    file: IO[bytes],
    defaults: Request,
    *,
    json_lines: bool,
    longest: int = MAX_LINE_BYTES,
    most_passed: int = MAX_PASSED_BYTES,
) -> Iterator[Request | BadLine]:
    """The requests of a file, in constant memory; what is wrong with a line stays its own.

    In a plain file each line is a prompt, an empty one too, and its number from 0 its sample.
    In JSON Lines each line that is not blank is an object with `prompt` and, as it likes,
    `length`, `temperature`, `seed`, `sample`, `stop` (a string or several), `top_k`, `top_p` and
    `min_p`; null is as good as absent. A line with a seed of its own is that seed's sample 0.

    Args:
        file: open for reading bytes; UTF-8, with or without a byte-order mark.
        defaults: what the lines don't say.
        json_lines: which of the two.
        longest: bytes of a line that can be a request.
        most_passed: bytes of a longer one after which the file is taken to have no end.

    Raises:
        CorpusError: it is of another encoding, or has a line without end.
    """
    for number, line in enumerate(_lines(file, longest, most_passed), start=1):
        if json_lines and line is not None and not line.strip():
            continue
        try:
            if line is None:
                raise RequestError(f"longer than {longest:,} bytes")
            here = replace(defaults, sample=number - 1, line=number)
            text = _decoded(line)
            yield _from_json(text, here) if json_lines else replace(here, prompt=text)
        except CharlmError as problem:
            yield BadLine(number, problem)


def count_prompts(path: Path) -> int | None:
    """The lines of a file of prompts; None of a long one, of a pipe, and of what can't be read.

    Where it can't be read, whoever reads it will say so.
    """
    try:
        if not path.is_file() or path.stat().st_size > SMALL_FILE:
            return None
        return max(2, len(path.read_bytes().splitlines()))  # several texts, however few
    except OSError:
        return None


def is_json_lines(name: str, wanted: str) -> bool:
    """Whether a file is read as JSON Lines: as wanted, or by the end of its name.

    Raises:
        SettingsError: `wanted` is not one of `FORMATS`.
    """
    if wanted not in FORMATS:
        raise SettingsError(f"`prompts_format` is one of {', '.join(FORMATS)}, not {wanted}")
    return wanted == "jsonl" or (wanted == "auto" and name.lower().endswith(JSON_LINES_ENDINGS))


def _lines(file: IO[bytes], longest: int, most_passed: int) -> Iterator[bytes | None]:
    """Each line without its end; None for one that is too long to hold."""
    start = True
    limit = longest + 1  # its end included
    while line := file.readline(limit):
        too_long = len(line) == limit and not line.endswith(b"\n")
        if too_long:
            passed = limit
            while (rest := file.readline(limit)) and not rest.endswith(b"\n"):
                passed += limit
                if passed > most_passed:
                    raise CorpusError("a line of a gigabyte: this is no file of prompts")
        if start:
            check_start(line, "standard input")
            line, start = line.removeprefix(b"\xef\xbb\xbf"), False
        yield None if too_long else line.removesuffix(b"\n").removesuffix(b"\r")


def check_start(content: bytes, where: str) -> None:
    """A file of prompts is UTF-8, without a NUL.

    Args:
        content: its beginning.
        where: its name, for messages.

    Raises:
        CorpusError: its first bytes say otherwise.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise CorpusError(
            f"the prompts of {where} are not utf-8, but utf-16 or utf-32: convert them"
        )
    if b"\0" in content:
        raise CorpusError(f"{where}: binary data, not text: a NUL after {content.index(0):,} bytes")


def _decoded(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise RequestError(
            f"not utf-8: byte 0x{line[problem.start]:02x} at position {problem.start} "
            f"({problem.reason}); convert the file first"
        ) from problem


def _from_json(text: str, defaults: Request) -> Request:
    values = _object(text)
    if unknown := sorted(values.keys() - KEYS.keys()):
        raise RequestError(f"unknown key {unknown[0]!r}; the keys are {', '.join(KEYS)}")
    return request_of(values, defaults)


def request_of(values: Mapping[str, Any], defaults: Request) -> Request:
    """The request that the keys of a line, or the columns of a row, stand for.

    Args:
        values: by some of `KEYS`; None is as good as absent.
        defaults: what they don't say.

    Raises:
        RequestError: no prompt, or a value of another type or out of range.
    """
    if "prompt" not in values:
        raise RequestError('"prompt" is missing')
    given = {
        key: _checked(key, value)
        for key, value in values.items()
        if value is not None or key == "prompt"
    }
    if "seed" in given:
        given.setdefault("sample", 0)
    try:
        return replace(defaults, **given)
    except SettingsError as problem:
        raise RequestError(str(problem).replace("`", "")) from problem


def _object(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_without_twins)
    except json.JSONDecodeError as problem:
        raise RequestError(f"not JSON: {problem.msg} at column {problem.colno}") from problem
    except (ValueError, RecursionError) as problem:  # too long a number, too deep a list
        raise RequestError(f"not JSON that can be read: {problem}") from problem
    if not isinstance(found, dict):
        raise RequestError('not a JSON object, such as {"prompt": "the door", "length": 100}')
    return found


def _no_constant(name: str) -> None:
    raise RequestError(f"not JSON: {name} is not a number")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise RequestError(f"the key {twin!r} stands there twice")
    return found


def _checked(key: str, value: Any) -> Any:
    """The value of a key as `Request` takes it, of the type that it should be."""
    kinds, described = KEYS[key]
    values = value if key == "stop" and isinstance(value, list) else [value]
    if not all(isinstance(each, kinds) and not isinstance(each, bool) for each in values):
        raise RequestError(f'"{key}" is not {described}')
    if kinds is str:
        texts = tuple(map(with_lf, values))
        return texts if key == "stop" else texts[0]
    try:
        return value if kinds is int else float(value)
    except OverflowError as problem:
        raise RequestError(f'"{key}" is too large') from problem


WHOLE, NUMBER = (int, "a whole number"), ((int, float), "a number")
KEYS: dict[str, tuple[Any, str]] = {
    "prompt": (str, "a string"),
    "length": WHOLE,
    "temperature": NUMBER,
    "seed": WHOLE,
    "sample": WHOLE,
    "stop": (str, "a string or a list of strings"),
    "top_k": WHOLE,
    "top_p": NUMBER,
    "min_p": NUMBER,
}
