"""What the packages give out by their names: light to import, and as their examples say."""

import importlib
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from charlm.data.commands import COMMANDS, program
from charlm.data.system.package import command_of

PACKAGES = ("data", "train", "export", "infer", "benchmarks")
EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def example(package: str) -> str:
    """The code in a package's docstring."""
    found = EXAMPLE.search(importlib.import_module(f"charlm.{package}").__doc__ or "")
    assert found is not None
    return found[1]


def test_the_examples_of_the_packages_run_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prose: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A text is trained on, exported as `model.onnx` and generated from, in one folder."""
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    Path("book.txt").write_text(prose, encoding="utf-8")
    for package in ("train", "export", "infer"):
        exec(compile(example(package), package, "exec"), {})
    first, *_, bits = capsys.readouterr().out.splitlines()
    assert "test_bits_per_character" in first
    assert 0 < float(bits) < 10


def test_a_step_is_that_of_the_generator(tmp_path: Path) -> None:
    """The loop of `load_step`'s example, then greedy characters."""
    from charlm.infer import Generator, load_step

    step, generator = load_step(), Generator.open(provider="cpu")
    vocabulary, state = step.metadata.vocabulary, step.zero_state()
    for token in vocabulary.encode("the old house"):
        logits, state = step([token], state)
    drawn = ""
    for _ in range(20):
        drawn += vocabulary.characters[int(logits[0].argmax())]
        logits, state = step([vocabulary.id_of(drawn[-1])], state)
    assert drawn == generator.text("the old house", length=20, temperature=0)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_gives_out_what_it_names(package: str) -> None:
    module = importlib.import_module(f"charlm.{package}")
    for name in getattr(module, "__all__", ()):
        assert getattr(module, name) is not None
    assert re.match(r"\d+\.\d+", module.__version__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_nothing_heavy_is_imported_with_a_package() -> None:
    code = "import sys\nfrom charlm import data, train, export, infer, benchmarks\n"
    code += "print({'torch', 'onnx', 'onnxruntime', 'numpy', 'typer'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_command_runs_no_code_of_the_folder_it_is_called_in(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise SystemExit('of the folder')", encoding="utf-8")
    again = command_of("charlm.infer.cli.gen", "--version")
    done = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    folders = [Path(__file__).parents[2] / package for package in PACKAGES]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    own = [path.name for path in files if '"-m"' in path.read_text(encoding="utf-8")]
    assert own == ["package.py"], "command_of starts modules"


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("gen", ["-"]), ("gen", ["--prompts", "-"]), ("score", ["-"])],
)
def test_closed_standard_input_is_one_line(module: str, arguments: list[str]) -> None:
    done = subprocess.run(
        [
            *("sh", "-c", 'exec "$@" <&-', "sh"),
            *(sys.executable, "-m", f"charlm.infer.cli.{module}", *arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "standard input is closed" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_messages_that_can_not_be_written_cost_nothing() -> None:
    command = [sys.executable, "-m", "charlm.infer.cli.gen", "the ", "--length", "9", "--seed", "1"]
    whole = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, whole)


DOCUMENT = Path(__file__).parents[2] / "docs" / "MODEL_FILE.md"
VECTOR = re.compile(r"^\| (\d+), (\d+) \| (`.*`) \| ([\d., ]+) \|$", re.MULTILINE)
GOLDEN = re.compile(r"^\| (`.*?`|\(empty\)) \| T (\d).*? \| `(.{60})` \|$", re.MULTILINE)


def test_the_test_vectors_of_the_document_hold() -> None:
    from numpy.random import Philox

    from charlm.infer import Generator
    from charlm.infer.sampling.philox import UniformStream

    vectors, texts = (
        VECTOR.findall(DOCUMENT.read_text("utf-8")),
        GOLDEN.findall(DOCUMENT.read_text("utf-8")),
    )
    assert len(vectors) == len(texts) == 3
    for seed, sample, words, uniforms in vectors:
        found = Philox(key=[int(seed), int(sample)]).random_raw(4)
        assert " ".join(f"`{word:016x}`" for word in found.tolist()) == words
        taken = UniformStream(int(seed), int(sample)).take(4)
        assert ", ".join(f"{u:.10f}" for u in taken.tolist()) == uniforms
    generator = Generator.open(provider="cpu")
    for prompt, temperature, text in texts:
        given = "" if prompt == "(empty)" else prompt.strip("`")
        assert generator.text(given, length=60, temperature=int(temperature), seed=1) == text


def test_generating_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    """Builds of ONNX Runtime write an identity of the machine there."""
    done = subprocess.run(
        [sys.executable, "-m", "charlm.infer.cli.gen", "the ", "--length", "9"],
        env={k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
        | {"HOME": str(tmp_path)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert list(tmp_path.rglob("*")) == []


def test_words_that_were_not_quoted_are_said_to_be() -> None:
    done = umbrella("gen", "once", "upon", "a", "time")
    assert done.returncode == 2
    assert "a text of several words is quoted" in done.stderr


def test_training_in_a_thread_leaves_signals_to_the_main_one(
    tmp_path: Path, prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from charlm.train import train

    monkeypatch.chdir(tmp_path)
    Path("book.txt").write_text(prose, encoding="utf-8")
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(train, "book.txt", hidden=8, epochs=1).result()
    assert run.model.config.hidden == 8


def umbrella(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from charlm.data.commands import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


def test_one_command_has_the_others() -> None:
    assert umbrella("gen", "the ", "--length", "9", "--seed", "1").stdout.startswith("the ")
    listed = umbrella().stdout
    for command in COMMANDS:
        assert f"charlm {command}" in listed
        shown = umbrella(command, "-h")
        assert shown.returncode == 0
        assert f"Usage: {program(command)} " in shown.stdout
    unknown = umbrella("generate")
    assert unknown.returncode == 2
    assert "there is no command 'generate'" in unknown.stderr
    assert umbrella("--version").stdout.startswith("charlm ")


def test_closed_standard_output_is_an_error() -> None:
    """What was asked for would be lost in silence."""
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "charlm.infer.cli.gen", "the "],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "standard output is closed" in done.stderr
