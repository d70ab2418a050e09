"""The examples, each where its runtime is at hand, draw the texts that charlm draws."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from charlm.infer import Generator
from tests.support.browser import Browser, chromium, served

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
MODEL = ROOT / "infer" / "models" / "lovecraft.onnx"
Command = list[str | Path]
Text = tuple[str, float, int, int]  # prompt, temperature, seed, length
GOLDEN: Text = ("the old house ", 0.7, 1, 200)
TEXTS: list[Text] = [  # in none is a draw near a tie
    GOLDEN,
    ("the old house ", 0, 1, 60),
    ("", 1, 2**64 - 1, 60),
    ("", 0, 1, 60),
]


def drawn_by_charlm(text: Text) -> str:
    prompt, temperature, seed, length = text
    generator = Generator.open(MODEL, provider="cpu")
    return prompt + generator.text(prompt, temperature=temperature, seed=seed, length=length)


def onnxruntime_for_cpp() -> list[str]:
    """The options of a compiler; none where its headers are not to be found."""
    if home := os.environ.get("ORT_HOME"):
        return [f"-I{home}/include", f"-L{home}/lib", f"-Wl,-rpath,{home}/lib", "-lonnxruntime"]
    if not shutil.which("pkg-config"):
        return []
    asked = ["pkg-config", "--cflags", "--libs", "libonnxruntime"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()


@pytest.fixture(scope="session")
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """What runs a language's example, before its arguments."""
    folder = EXAMPLES / request.param
    if request.param == "node":
        if not shutil.which("node") or not (folder / "node_modules").exists():
            pytest.skip("no Node here, or not installed: npm install --prefix examples/node")
        return ["node", folder / "generate.mjs"]
    if request.param == "cpp":
        options = onnxruntime_for_cpp()
        if not options:
            pytest.skip("no headers of ONNX Runtime: ORT_HOME is not set, pkg-config lacks them")
        program = tmp_path_factory.mktemp("cpp") / "generate"
        compiler = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", folder / "generate.cpp"]
        subprocess.run([*compiler, *options, "-o", program], check=True)
        return [program]
    if request.param == "csharp":
        if not shutil.which("dotnet") or not (folder / "obj").exists():
            pytest.skip("no .NET here, or not restored: dotnet restore examples/csharp")
        return ["dotnet", "run", "--no-restore", "--project", folder, "--"]
    return [sys.executable, folder / "generate.py"]


def run(command: Command, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, MODEL, *map(str, arguments)], capture_output=True, encoding="utf-8", check=False
    )


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("command", ["python", "node", "cpp", "csharp"], indirect=True)
def test_an_example_draws_what_charlm_draws(command: Command, text: Text) -> None:
    done = run(command, *text)
    assert (done.returncode, done.stdout) == (0, drawn_by_charlm(text) + "\n")


@pytest.mark.parametrize("command", ["python", "node", "csharp"], indirect=True)
def test_a_prompt_is_normalised(command: Command) -> None:
    assert run(command, "The OLD\n house ", *GOLDEN[1:]).stdout == drawn_by_charlm(GOLDEN) + "\n"


@pytest.mark.parametrize("command", ["python", "node", "cpp", "csharp"], indirect=True)
def test_a_character_that_the_model_lacks_is_an_error(command: Command) -> None:
    done = run(command, "the {", *GOLDEN[1:])
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert re.search("lacks.*{", done.stderr)


def test_the_readme_shows_that_text() -> None:
    assert f"```\n{drawn_by_charlm(GOLDEN)}\n```" in (EXAMPLES / "README.md").read_text("utf-8")


# Fills the form once the model is loaded, and answers with the text once it is whole.
GENERATE = """
const [fields] = arguments;
const button = document.querySelector("button");
async function enabled() {
  while (button.disabled) await new Promise((later) => setTimeout(later, 20));
}
await enabled();
for (const [name, value] of Object.entries(fields))
  document.querySelector(`[name=${name}]`).value = value;
button.click();
await enabled();
return document.querySelector("output").textContent;
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser in which the page is open."""
    if not (EXAMPLES / "web" / "node_modules").exists():
        pytest.skip("not installed: npm install --prefix examples/web")
    with chromium(tmp_path_factory.mktemp("profile")) as browser, served(ROOT) as address:
        browser.open(f"{address}/examples/web/")
        yield browser


def shown(page: Browser, text: Text) -> str:
    fields = dict(zip(("prompt", "temperature", "seed", "length"), map(str, text), strict=True))
    answer: str = page.run(GENERATE, fields)
    return answer


@pytest.mark.parametrize("text", TEXTS)
def test_the_page_draws_what_charlm_draws(page: Browser, text: Text) -> None:
    assert shown(page, text) == drawn_by_charlm(text)


def test_the_page_normalises_a_prompt_and_names_what_the_model_lacks(page: Browser) -> None:
    assert shown(page, ("The OLD house ", *GOLDEN[1:])) == drawn_by_charlm(GOLDEN)
    assert "{" in shown(page, ("the {", *GOLDEN[1:]))
