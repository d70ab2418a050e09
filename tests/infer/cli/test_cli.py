import io
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charlm.export.contract import native as contract_native
from charlm.infer.cli import gen
from charlm.infer.generator import Generator
from charlm.infer.model import providers
from charlm.infer.model.state import State

Generate = Callable[..., tuple[int, str, list[str]]]
Start = Callable[..., subprocess.Popen[bytes]]

needs_posix = pytest.mark.skipif(os.name == "nt", reason="signals and /dev/full are POSIX's")

PORTABLE = """
from pathlib import Path
from charlm.export.contract import native as contract_native
contract_native.LIBRARY = Path("none")
"""
# Without the native operator a short text, or one of a model alone, is drawn step by step.
both_ways = pytest.mark.parametrize("way", ["", PORTABLE], ids=["native", "steps"])


def seed_in(lines: list[str]) -> int:
    found = re.search(r"seed (\d+)$", lines[-1])
    assert found
    return int(found[1])


def test_prompt_and_text_are_printed(
    generate: Generate, small: Generator, small_path: Path
) -> None:
    wanted = small.text("the city", length=200, seed=3)
    code, out, err = generate("the city", "--seed", 3)
    assert (code, out) == (0, f"the city{wanted}\n")
    assert err == [f"charlm-gen: {small_path}, cpu, seed 3"]


def test_the_prompt_is_shown_as_the_model_reads_it(generate: Generate) -> None:
    out = generate("The?\nCITY", "--length", 5, "--unknown", "drop")[1]
    assert out.startswith("thecity")


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (("--temperature", 0.3, "--threads", 2), {"temperature": 0.3}),
        (("--temperature", 0), {"temperature": 0}),
        (("--top-k", 2), {"top_k": 2}),
        (("--top-p", 0.6), {"top_p": 0.6}),
        (("--min-p", 0.2), {"min_p": 0.2}),
    ],
)
def test_options_reach_the_generator(
    generate: Generate,
    small: Generator,
    options: tuple[object, ...],
    settings: dict[str, Any],
    samples: int,
) -> None:
    given: dict[str, Any] = {"length": 60, "seed": 1, "temperature": 3.0}
    wanted = [small.text("a", sample=row, **given | settings) for row in range(samples)]
    named = ("--length", 60, "--seed", 1, "--temperature", 3, "--no-echo", "--samples", samples)
    assert generate("a", *named, *options)[1] == "\n\n".join(wanted) + "\n"
    assert wanted[0] != small.text("a", **given)


def test_int8_reaches_the_generator(generate: Generate, small: Generator) -> None:
    wanted = Generator(small.model, "int8").text("a", length=50, seed=1)
    options = ("--length", 50, "--seed", 1, "--no-echo")
    assert generate("a", *options, "--precision", "int8")[1] == f"{wanted}\n"
    assert generate("a", *options)[1] != f"{wanted}\n"


def test_an_empty_prompt(generate: Generate, small: Generator) -> None:
    assert generate("--length", 30, "--seed", 2)[1] == small.text("", length=30, seed=2) + "\n"


def test_a_drawn_seed_is_shown_and_gives_the_text_again(generate: Generate) -> None:
    code, out, err = generate("a", "--length", 60)
    assert code == 0
    assert generate("a", "--length", 60, "--seed", seed_in(err))[1] == out
    _, other, more = generate("a", "--length", 60)
    assert seed_in(more) != seed_in(err)
    assert other != out


@pytest.mark.parametrize("echo", [True, False])
def test_samples_are_separated_by_an_empty_line(
    generate: Generate, small: Generator, echo: bool
) -> None:
    texts = [small.text("the", length=25, seed=5, sample=stream) for stream in range(3)]
    shown = [("the" if echo else "") + text for text in texts]
    options = ("--length", 25, "--seed", 5, "--samples", 3, "--echo" if echo else "--no-echo")
    code, out, _ = generate("the", *options)
    assert (code, out) == (0, "\n\n".join(shown) + "\n")


@pytest.mark.parametrize(
    "content", [b"the city", b"the city\n", b"\xef\xbb\xbfThe\r\n city\r\n", b"the\r city"]
)
def test_a_dash_reads_the_prompt_from_standard_input(
    generate: Generate, small: Generator, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))
    wanted = small.text("the city", length=20, seed=1)
    assert generate("-", "--length", 20, "--seed", 1)[:2] == (0, f"the city{wanted}\n")


def test_standard_input_that_is_not_utf8_is_one_line(
    generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the \xff")))
    code, out, err = generate("-")
    assert (code, out) == (2, "")
    assert err == [
        "charlm-gen: the prompt on standard input is not utf-8: byte 0xff at position 4 "
        "(invalid start byte); convert it first"
    ]


def test_standard_input_without_end_is_not_read_for_ever(
    generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gen, "MAX_PROMPT_BYTES", 4)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the city")))
    code, _, err = generate("-")
    assert (code, err) == (2, ["charlm-gen: the prompt on standard input is longer than 4 bytes"])


def test_model_onnx_here_comes_before_the_shipped_one(
    generate: Generate, small: Generator, small_content: bytes
) -> None:
    code, _, err = generate("the ", "--length", 5, "--seed", 1, model=None)
    assert code == 0
    assert err == ["charlm-gen: the Lovecraft model that ships with charlm, cpu, seed 1"]
    Path("model.onnx").write_bytes(small_content)
    code, out, err = generate("the ", "--length", 5, "--seed", 1, model=None)
    assert (code, out) == (0, "the " + small.text("the ", length=5, seed=1) + "\n")
    assert err == ["charlm-gen: model.onnx, cpu, seed 1"]


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["the?"], "character '?' (U+003F) at position 3"),
        (["a", "--unknown", "??"], "'??' is not one of the model's 28 characters"),
        (["a", "--length", "-1"], "--length is from 0 (without end) to 2^60, not -1"),
        (["a", "--length", "many"], "--length"),
        (["a", "--temperature", "-1"], "--temperature is 0 (greedy)"),
        (["a", "--top-k", "-1"], "--top-k is a whole number from 1, or 0 (off), not -1"),
        (["a", "--top-k", "1.5"], "--top-k"),
        (["a", "--top-p", "90"], "--top-p is above 0 (from 1e-30) to 1 (off), not 90.0"),
        (["a", "--min-p", "-0.1"], "--min-p is from 0 (off) to 1, not -0.1"),
        (["a", "--samples", "2", "--min-p", "2"], "--min-p is from 0 (off) to 1, not 2.0"),
        (["a", "--temperature", "0", "--top-k", "-1"], "--top-k is a whole number"),
        (["a", "--seed", str(2**64)], "--seed is from 0 to 2^64 - 1"),
        (["a", "--samples", "0"], "--samples is from 1"),
        (["a", "--samples", "2", "--length", "0"], "without end"),
        (["a", "--threads", "0"], "--threads is from 1 to 256"),
        (["a", "--provider", "gpu"], "--provider is one of auto, cpu, cuda"),
        (["a", "--save-state", ""], "--save-state is empty: name a path, or leave it out"),
        (["a", "--load-state="], "--load-state is empty"),
        (["a", "--nonsense"], "--nonsense"),
        (["a", "b"], "unexpected extra argument"),
        (["-5 degrees"], "-- stands before a text that begins with a dash"),
    ],
)
def test_a_mistake_is_one_line(generate: Generate, arguments: list[str], saying: str) -> None:
    code, out, err = generate(*arguments)
    assert (code, out) == (2, "")
    assert len(err) == 1
    assert err[0].startswith("charlm-gen: ")
    assert saying in err[0]


@pytest.mark.parametrize("content", [None, b"", b"not a model"])
def test_a_bad_model_is_one_line(generate: Generate, content: bytes | None) -> None:
    if content is not None:
        Path("m.onnx").write_bytes(content)
    code, out, err = generate("a", model=Path("m.onnx"))
    assert (code, out, len(err)) == (2, "", 1)
    assert "m.onnx" in err[0]


def test_a_note_on_the_provider_is_one_line_on_stderr(
    generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = providers.without_cuda("auto", "no cublas")
    monkeypatch.setattr(providers, "choose", lambda *_: note)
    code, out, err = generate("a", "--length", 5, "--seed", 1)
    assert (code, len(out)) == (0, 7)
    assert err[0] == "charlm-gen: an NVIDIA GPU is here but is not used: no cublas"
    assert len(err) == 2


def test_debug_shows_the_traceback(generate: Generate) -> None:
    with pytest.raises(Exception, match="`length`"):
        generate("a", "--length", "-1", "--debug")


NOISE = """
import os
import charlm.infer.model.open as artifact
quiet = artifact.require_onnxruntime
def noisy():
    print("chatter from Python")
    os.write(1, b"chatter from C++\\n")
    return quiet()
artifact.require_onnxruntime = noisy
"""


def test_stdout_holds_nothing_but_text(start: Start, small: Generator) -> None:
    process = start("a", "--length", "40", "--seed", "1", before=NOISE)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.decode() == "a" + small.text("a", length=40, seed=1) + "\n"
    assert b"chatter from Python" in err
    assert b"chatter from C++" in err


@both_ways
def test_a_closed_pipe_ends_it_silently(start: Start, way: str) -> None:
    process = start("a", "--length", "0", "--seed", "1", before=way)
    assert process.stdout is not None
    assert process.stderr is not None
    assert len(process.stdout.read(5000)) == 5000
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read().count(b"\n") == 1, "model and seed, and nothing else"


@needs_posix
@both_ways
def test_ctrl_c_ends_it_cleanly(start: Start, way: str, tmp_path: Path) -> None:
    process = start("a", "--length", "0", "--seed", "1", "--save-state", "kept", before=way)
    assert process.stdout is not None
    assert process.stderr is not None
    out = process.stdout.read(1000)
    process.send_signal(signal.SIGINT)
    out, err = out + process.stdout.read(), process.stderr.read()
    assert process.wait(timeout=60) == 130
    assert State.load(tmp_path / "kept").characters >= len(out.decode()) - 1
    assert out.endswith(b"\n"), "the shell's prompt stands on a line of its own"
    assert b"Traceback" not in err
    assert err.count(b"\n") == 1


@needs_posix
@both_ways
@pytest.mark.parametrize("length", ["20", "0"])
def test_a_full_disk_is_one_line(start: Start, length: str, way: str) -> None:
    with Path("/dev/full").open("wb") as full:
        process = start("a", "--length", length, "--seed", "1", stdout=full, before=way)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert b"Traceback" not in err
    first, second = err.decode().splitlines()
    assert "seed 1" in first
    assert second == "charlm-gen: can't write standard output: no space left on device"


WAITING = """
import time
from charlm.infer.engines import native, step
def slow(real, last):
    calls = 0
    def slowed(self, *given):
        nonlocal calls
        calls += 1
        if calls <= last:
            time.sleep(0.03)
        if calls == last:
            sys.stdin.read()
        return real(self, *given)
    return slowed
step.Stepper.step = slow(step.Stepper.step, 10)
native.NativeEngine.draw = slow(native.NativeEngine.draw, 3)
"""


@both_ways
def test_text_is_seen_as_it_is_drawn(start: Start, way: str) -> None:
    """The first characters arrive while the tenth, or the third block, waits for this test."""
    given = ("a", "--length", "700", "--seed", "1")
    process = start(*given, before=WAITING + way, stdin=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    in_vain = threading.Timer(30, process.stdin.close)
    in_vain.start()
    shown = process.stdout.read(5)
    in_time = in_vain.is_alive()
    in_vain.cancel()
    assert len(shown) == 5
    assert in_time, "nothing was seen while the text waited"
    process.stdin.close()
    out = shown + process.stdout.read()
    assert len(out.decode()) == 1 + 700 + 1
    assert process.wait(timeout=60) == 0


@pytest.mark.parametrize("encoding", ["ascii", "ascii:replace"])
def test_characters_that_stdout_can_not_show(start: Start, small: Generator, encoding: str) -> None:
    """An error that says what helps, unless Python was told what to do with them."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    process = start("é", "--length", "5", "--seed", "1", env=environment)
    out, err = process.communicate(timeout=60)
    if encoding == "ascii":
        assert (process.returncode, out) == (2, b"")
        said = rb"charlm-gen: '\xe9' can't be written in ascii; set PYTHONIOENCODING=utf-8"
        assert err.splitlines()[-1] == said
        return
    assert process.returncode == 0, err
    wanted = "é" + small.text("é", length=5, seed=1) + "\n"
    assert out == wanted.encode("ascii", "replace")


def test_cuda_that_can_not_run_never_falls_to_the_cpu(
    generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract_native, "problem", lambda: None)
    monkeypatch.setattr(contract_native, "gpu", lambda: (0, "no NVIDIA driver was found"))
    code, out, err = generate("a", "--provider", "cuda")
    assert (code, out) == (2, "")
    assert err == [
        "charlm-gen: --provider cuda can't run here: no NVIDIA driver was found; "
        "or use --provider cpu"
    ]


def test_escapes_are_read_in_prompt_and_stop(generate: Generate) -> None:
    plain = generate("the\x20e", "--seed", 3, "--stop", "e")
    assert generate(r"the\x20\x65", "--escapes", "--seed", 3, "--stop", r"\u0065") == plain


def test_an_escaped_dash_is_a_prompt(
    generate: Generate, small: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the city")))
    options = ("--escapes", "--unknown", "e", "--length", 20, "--seed", 1)
    wanted = small.text("e", length=20, seed=1)
    assert generate(r"\x2d", *options)[:2] == (0, f"e{wanted}\n")


@pytest.mark.parametrize("arguments", [(r"the\n",), ("the", "--stop", r"\n")])
def test_an_escape_that_a_model_can_not_read_is_pointed_out(
    generate: Generate, arguments: tuple[str, ...]
) -> None:
    code, out, err = generate(*arguments)
    assert (code, out) == (2, "")
    assert err == [
        r"charlm-gen: the model has no backslash: for the character that \n means, add --escapes"
    ]
    if len(arguments) == 1:
        code, _, err = generate(*arguments, "--unknown", "drop")
        assert code == 0
        assert "add --escapes" in err[0]
