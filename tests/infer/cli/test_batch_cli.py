"""`charlm-gen` with many texts: files of prompts, JSON Lines, and how it ends."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charlm.infer.batch import writer
from charlm.infer.generator import Generator

Generate = Callable[..., tuple[int, str, list[str]]]
Start = Callable[..., subprocess.Popen[bytes]]

needs_posix = pytest.mark.skipif(os.name == "nt", reason="signals and /dev/full are POSIX's")


@pytest.fixture
def cli_model(exact_path: Path) -> Path:
    """Texts must be equal to the last character, however they are batched and drawn."""
    return exact_path


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of prompts: lines of text, or objects as JSON Lines."""

    def write(*lines: str | dict[str, Any]) -> Path:
        path = tmp_path / ("p.txt" if isinstance(lines[0], str) else "p.jsonl")
        shown = (line if isinstance(line, str) else json.dumps(line) for line in lines)
        path.write_text("".join(line + "\n" for line in shown), encoding="utf-8")
        return path

    return write


def objects(out: str) -> list[dict[str, Any]]:
    assert out.endswith("\n")
    return [json.loads(line) for line in out.splitlines()]


def test_a_file_of_prompts_gives_a_text_for_each(
    generate: Generate, exact: Generator, cli_model: Path, file: Callable[..., Path]
) -> None:
    prompts = ["the city", "", "A door"]
    texts = [
        exact.normalised(prompt) + exact.text(prompt, length=30, seed=5, sample=number)
        for number, prompt in enumerate(prompts)
    ]
    code, out, err = generate("--prompts", file(*prompts), "--length", 30, "--seed", 5)
    assert (code, out) == (0, "\n\n".join(texts) + "\n")
    assert err == [f"charlm-gen: {cli_model}, cpu, seed 5"]


def test_a_file_without_prompts_is_said_to_be_empty(generate: Generate, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.touch()
    code, out, err = generate("--prompts", empty)
    assert (code, out) == (0, "")
    assert err[-1] == f"charlm-gen: {empty} holds no prompt: nothing was drawn"


def test_texts_can_end_with_a_nul(
    generate: Generate, exact: Generator, file: Callable[..., Path]
) -> None:
    texts = [exact.text("a", length=9, seed=5, sample=number) for number in range(3)]
    options = ("--length", 9, "--seed", 5, "--no-echo", "--null")
    wanted = "".join(f"{text}\0" for text in texts)
    assert generate("--prompts", file("a", "a", "a"), *options)[1] == wanted
    assert generate("a", "--samples", 3, *options)[1] == wanted
    assert generate("a", *options)[1] == texts[0] + "\0"


def test_json_lines_in_and_out(
    generate: Generate, exact: Generator, file: Callable[..., Path]
) -> None:
    whole = exact.text("The", length=60, seed=8, temperature=0.5)
    stop = whole[20:22].upper()
    end = whole.index(whole[20:22])
    prompts = file(
        {"prompt": "The", "length": 60, "seed": 8, "temperature": 0.5, "stop": stop},
        {"prompt": "é", "top_k": 2},
    )
    code, out, _ = generate("--prompts", prompts, "--json", "--length", 20, "--seed", 1)
    assert code == 0
    assert "é" in out
    assert objects(out) == [
        {
            "index": 0, "prompt": "The", "text": whole[:end], "seed": 8, "sample": 0,
            "temperature": 0.5, "finish": "stop", "stop": stop, "characters": end,
        },
        {
            "index": 1, "prompt": "é", "seed": 1, "sample": 1, "temperature": 1.0, "top_k": 2,
            "text": exact.text("é", length=20, seed=1, sample=1, top_k=2), "finish": "length",
            "characters": 20,
        },
    ]  # fmt: skip


def test_a_text_can_be_had_again_from_its_object(
    generate: Generate, file: Callable[..., Path]
) -> None:
    options = ("--length", 40, "--temperature", 0.7, "--min-p", 0.05)
    out = generate("the", "--samples", 5, "--json", *options)[1]
    wanted = objects(out)[3]
    keys = ("prompt", "seed", "sample", "temperature", "min_p")
    again = file({key: wanted[key] for key in keys})
    (found,) = objects(generate("--prompts", again, "--json", "--length", 40)[1])
    assert found | {"index": 3} == wanted


def test_half_a_pair_is_escaped_in_json(generate: Generate, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"prompt": "a"}\n{"prompt": "a \\ud83d b"}\n{"prompt": "b"}\n')
    code, out, _ = generate("--prompts", path, "--json", "--unknown", "drop", "--length", 3)
    assert (code, len(objects(out))) == (0, 3)
    assert '"a \\ud83d b"' in out.splitlines()[1]


@pytest.mark.parametrize("given", [(), ("--samples", 3), ("--samples", 300)])
def test_samples_as_json(generate: Generate, exact: Generator, given: tuple[object, ...]) -> None:
    code, out, _ = generate("the", *given, "--json", "--length", 12, "--seed", 2)
    assert code == 0
    found = objects(out)
    assert [each["index"] for each in found] == list(range(given[1] if given else 1))  # type: ignore[call-overload]
    for each in found:
        assert each["text"] == exact.text("the", length=12, seed=2, sample=each["sample"])


def test_unordered_texts_come_as_they_are_finished(
    generate: Generate, file: Callable[..., Path]
) -> None:
    prompts = file({"prompt": "the", "length": 900}, *[{"prompt": "a", "length": 5}] * 20)
    shown = ("--prompts", prompts, "--json", "--width", 4)
    ordered, unordered = (objects(generate(*shown, "--seed", 1, *more)[1]) for more in (
        (), ("--unordered",)
    ))  # fmt: skip
    assert [each["index"] for each in ordered] == list(range(21))
    assert unordered[-1]["index"] == 0
    assert sorted(unordered, key=lambda each: int(each["index"])) == ordered


def test_stop_strings_end_each_text(generate: Generate, exact: Generator) -> None:
    whole = exact.text("the", length=80, seed=3)
    stop = whole[30:32]
    wanted = whole[: whole.index(stop)]
    options = ("--length", 80, "--seed", 3, "--no-echo", "--stop", "zzzz", "--stop", stop)
    assert generate("the", *options)[1] == wanted + "\n"
    assert generate("the", *options, "--length", 0)[1] == wanted + "\n"
    assert generate("the", *options, "--samples", 2)[1].startswith(wanted + "\n\n")


def test_prompts_on_standard_input(
    generate: Generate, exact: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--prompts", "-", "--no-echo", "--length", 9, "--seed", 1)
    given = io.TextIOWrapper(io.BytesIO(b"the\na\n"))
    monkeypatch.setattr(sys, "stdin", given)
    texts = [exact.text(p, length=9, seed=1, sample=n) for n, p in enumerate(("the", "a"))]
    assert generate(*options)[:2] == (0, "\n\n".join(texts) + "\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"prompt": "the"}\n')))
    assert generate(*options, "--prompts-format", "jsonl")[:2] == (0, texts[0] + "\n")


def test_bad_lines_are_named_and_the_others_run(generate: Generate, exact: Generator) -> None:
    good = '{"prompt": "the", "length": 9, "seed": 1}'
    bad = ["{", '{"prompt": "a?"}', '{"prompt": "a", "stop": "?"}', '{"prompt": "a", "n": 1}']
    Path("p.jsonl").write_text("\n".join([good, *bad, good]), encoding="utf-8")
    code, out, err = generate("--prompts", "p.jsonl", "--json")
    assert code == 2
    found = objects(out)
    wanted = exact.text("the", length=9, seed=1)
    assert [each.get("text") for each in found] == [wanted, *[None] * 4, wanted]
    assert [each["index"] for each in found] == list(range(6))
    errors = [each for each in found if "error" in each]
    assert [each["line"] for each in errors] == [2, 3, 4, 5]
    assert set(errors[0]) == {"index", "line", "error"}
    assert err[1:] == [
        f"charlm-gen: p.jsonl: line {each['line']}: {each['error']}" for each in errors
    ]
    assert "not JSON" in err[1]
    assert "'?' (U+003F) at position 1" in err[2]
    assert "the stop string '?' can never come" in err[3]
    assert "unknown key 'n'" in err[4]
    code, out, again = generate("--prompts", "p.jsonl", "--no-echo")
    assert (code, out) == (2, f"{wanted}\n\n{wanted}\n")
    assert again[1:] == err[1:]


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["a", "--prompts", "p.txt"], "--prompts has the prompts: give no PROMPT and no --samples"),
        (["--samples", "2", "--prompts", "p.txt"], "--prompts has the prompts"),
        (["--prompts", "none.txt"], "can't read none.txt: no such file"),
        (["--prompts", "."], "can't read .: is a directory"),
        (["--prompts", "p.txt", "--prompts-format", "csv"], "--prompts-format is one of auto, "),
        (["--prompts", "p.txt", "--length", "0"], "without end"),
        (["--prompts", "p.txt", "--stop", "?"], "the stop string '?' can never come"),
        (["--prompts", "p.txt", "--stop", ""], "the stop string '' is empty"),
        (["--prompts", "p.txt", "--unknown", "??"], "'??' is not one of the model's 28"),
        (["--prompts", "p.txt", "--temperature", "-1"], "--temperature is 0"),
        (["--prompts", "p.txt", "--top-p", "0"], "--top-p is above 0"),
        (["--prompts", "p.txt", "--width", "0"], "--width is from 1 to 65536, not 0"),
        (["--prompts", "p.txt", "--width", "9999999999"], "--width is from 1 to 65536"),
        (["a", "--samples", "0"], "--samples is from 1"),
        (["a", "--samples", str(2**65)], "--samples is from 1"),
        (["a", "--samples", "-2"], "--samples is from 1"),
        (["a?", "--samples", "2"], "'?' (U+003F) at position 1"),
        (["a", "--samples", "2", "--stop", "?"], "the stop string '?' can never come"),
        (["a", "--stop", "?"], "the stop string '?' can never come"),
        (["a", "--width", "0"], "--width is from 1 to 65536, not 0"),
        (["a", "--prompts-format", "text"], "--prompts-format is of --prompts"),
        (["a", "--unordered"], "--unordered is for many texts"),
        (["a", "--json", "--length", "0"], "--json needs a --length"),
        (["--prompts", "nul.bin"], "nul.bin: binary data, not text: a NUL after 5 bytes"),
        (["a", "--json", "--null"], "--json and --null contradict each other"),
    ],
)
def test_a_mistake_is_one_line(generate: Generate, arguments: list[str], saying: str) -> None:
    Path("p.txt").write_text("the\n", encoding="utf-8")
    Path("nul.bin").write_bytes(b"\x89PN\n\n\0\n\xff\n")
    code, out, err = generate(*arguments)
    assert (code, out) == (2, "")
    assert len(err) == 1
    assert err[0].startswith("charlm-gen: ")
    assert saying in err[0]


def test_a_closed_pipe_ends_a_batch_silently(start: Start) -> None:
    process = start("a", "--samples", "1000000", "--length", "50", "--seed", "1")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(5000)
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read().count(b"\n") == 1, "model and seed, and nothing else"


@needs_posix
@pytest.mark.parametrize("unordered", [True, False])
def test_ctrl_c_leaves_what_is_finished(start: Start, exact: Generator, unordered: bool) -> None:
    """Whole lines alone, exit code 130, and no traceback."""
    more = ["--unordered"] if unordered else []
    process = start("a", "--samples", "1000000", "--length", "40", "--seed", "1", "--json", *more)
    assert process.stdout is not None
    assert process.stderr is not None
    first = process.stdout.readline()
    reading = threading.Timer(0.3, lambda: process.send_signal(signal.SIGINT))
    reading.start()
    out = first + process.stdout.read()
    err = process.stderr.read()
    reading.join()
    assert process.wait(timeout=60) == 130
    assert b"Traceback" not in err
    assert err.count(b"\n") == 1
    found = objects(out.decode())
    assert len(found) > 100
    indices = [each["index"] for each in found]
    assert len(set(indices)) == len(indices)
    assert unordered or indices == list(range(len(found)))
    for each in found[:: len(found) // 10]:
        assert each["text"] == exact.text("a", length=40, seed=1, sample=each["sample"])


HELD = """
from charlm.infer.engines.native import NativeEngine
blocks, draw = 0, NativeEngine.draw
def interrupted(self, steps):
    global blocks
    blocks += 1
    if blocks == 20:
        raise KeyboardInterrupt
    return draw(self, steps)
NativeEngine.draw = interrupted
"""


@pytest.mark.parametrize("form", ["--json", "--echo"])
def test_ctrl_c_writes_what_waited_for_its_turn(
    start: Start, exact: Generator, file: Callable[..., Path], form: str
) -> None:
    prompts = file({"prompt": "the", "length": 90000}, *[{"prompt": "a", "length": 5}] * 6)
    process = start("--prompts", str(prompts), form, "--seed", "1", "--width", "4", before=HELD)
    out, err = (part.decode() for part in process.communicate(timeout=60))
    assert process.returncode == 130
    assert err.count("\n") == 1
    texts = [exact.text("a", length=5, seed=1, sample=number) for number in range(1, 7)]
    if form == "--json":
        assert [(each["index"], each["text"]) for each in objects(out)] == [*enumerate(texts, 1)]
        return
    begun, *others = out.removesuffix("\n").split("\n\n")
    assert others == ["a" + text for text in texts]
    assert len(begun) > 100
    assert begun == "the" + exact.text("the", length=len(begun) - 3, seed=1)


class Interrupted(io.StringIO):
    """Ctrl-C comes while something is written, or on the way there."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def write(self, text: str) -> int:
        count = super().write(text)
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt
        return count


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("at", [1, 4, 100])
def test_ctrl_c_while_a_text_is_written_leaves_those_behind_it(
    exact: Generator, at: int, ordered: bool, as_json: bool
) -> None:
    """Of 100 that were finished together each is written, once."""
    job = writer.Job(writer.Request("a", length=8), samples=100, ordered=ordered, as_json=as_json)
    whole, out = io.StringIO(), Interrupted(at)
    writer.run(whole, exact, job, "")
    with pytest.raises(KeyboardInterrupt):
        writer.run(out, exact, job, "")
    assert out.getvalue() == whole.getvalue()


def test_ctrl_c_before_a_text_is_written_does_not_lose_it(
    exact: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = writer.Job(writer.Request("a", length=30), samples=100, as_json=True)
    whole, out, dumps = io.StringIO(), io.StringIO(), json.dumps
    writer.run(whole, exact, job, "")
    count = 0

    def interrupted(*given: Any, **options: Any) -> str:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return dumps(*given, **options)

    monkeypatch.setattr(json, "dumps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writer.run(out, exact, job, "")
    assert out.getvalue() == whole.getvalue()


def test_a_second_ctrl_c_ends_it_at_once(exact: Generator) -> None:
    class Twice(Interrupted):
        def write(self, text: str) -> int:
            try:
                return super().write(text)
            finally:
                if not self.left:
                    self.left = 3

    job = writer.Job(writer.Request("a", length=30), samples=100, as_json=True)
    out = Twice(4)
    with pytest.raises(KeyboardInterrupt):
        writer.run(out, exact, job, "")
    assert len(objects(out.getvalue())) == 4 + 3


@needs_posix
def test_the_first_text_is_shown_as_it_comes_but_in_a_file(tmp_path: Path) -> None:
    job, (read, write) = writer.Job(writer.Request("a", length=5), samples=2), os.pipe()
    with (
        (tmp_path / "a").open("w") as file,
        Path(os.devnull).open("w") as nowhere,
        os.fdopen(read),
        os.fdopen(write, "w") as pipe,
    ):
        outs = file, nowhere, pipe, io.StringIO()
        watched = [writer._TextWriter(out, job).watches(0) for out in outs]
    assert watched == [False, False, True, True]


@needs_posix
def test_ctrl_c_while_the_first_text_is_shown_ends_its_line(start: Start) -> None:
    process = start("a", "--samples", "2", "--length", "100000000", "--seed", "1")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(3000)
    process.send_signal(signal.SIGINT)
    out, err = process.stdout.read(), process.stderr.read()
    assert process.wait(timeout=60) == 130
    assert out.endswith(b"\n"), "the shell's prompt stands on a line of its own"
    assert err.count(b"\n") == 1


@needs_posix
def test_a_full_disk_is_one_line(start: Start) -> None:
    with Path("/dev/full").open("wb") as full:
        process = start("a", "--samples", "999", "--length", "20", "--seed", "1", stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.decode().splitlines()[1:] == [
        "charlm-gen: can't write standard output: no space left on device"
    ]


@pytest.mark.parametrize("given", ["file", "-"])
def test_prompts_are_not_read_from_where_texts_go(start: Start, tmp_path: Path, given: str) -> None:
    """Each text would be another prompt."""
    path = tmp_path / "prompts.txt"
    path.write_text("a\n")
    with path.open("ab") as out, path.open("rb") as read:
        process = start("--prompts", given if given == "-" else str(path), stdin=read, stdout=out)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert b"charlm-gen: standard output goes into " in err
    assert path.read_text() == "a\n"


def test_a_program_can_wait_for_each_text(start: Start, exact: Generator) -> None:
    """A prompt is written, its text is read, then the next: nothing is held back."""
    process = start(
        "--prompts", "-", "--json", "--length", "9", "--seed", "1", "--width", "1",
        stdin=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    in_vain = threading.Timer(30, process.kill)
    in_vain.start()
    for number, prompt in enumerate(("the", "a", "")):
        process.stdin.write(prompt.encode() + b"\n")
        process.stdin.flush()
        found = json.loads(process.stdout.readline())
        assert found["text"] == exact.text(prompt, length=9, seed=1, sample=number)
    in_vain.cancel()
    process.stdin.close()
    assert process.wait(timeout=60) == 0


def test_json_is_ascii_where_stdout_is(start: Start) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    process = start("é", "--json", "--length", "5", "--seed", "1", env=environment)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out.decode("ascii"))["prompt"] == "é"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("out_is_terminal", [True, False])
def test_a_long_job_has_a_bar_where_someone_watches(
    exact: Generator, monkeypatch: pytest.MonkeyPatch, out_is_terminal: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    out = Terminal() if out_is_terminal else io.StringIO()
    job = writer.Job(writer.Request("a", length=30), samples=40)
    assert writer.run(out, exact, job, "", patience=-1.0) == 0
    assert len(out.getvalue()) == 40 * 32 + 39
    assert isinstance(sys.stderr, Terminal)
    assert ("characters/s" in sys.stderr.getvalue()) != out_is_terminal
