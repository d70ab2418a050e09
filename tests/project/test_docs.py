"""The documents say what the programs do: their commands run, their links lead somewhere.

Each block of shell (`console`) or Python in the tutorial and the how-to guides is run, those of a
page one after another in one folder, and must give what is shown: for shell the lines without a
`$`, for Python the `text` block that follows. There `…` stands for anything, and as a line of its
own for any lines.
A comment before a block changes that, and says why:

- `<!-- figures vary: … -->`: any number may stand in a number's place;
- `<!-- output varies: … -->`: it only has to run, and to show something;
- `<!-- not run: … -->`.
"""

import contextlib
import importlib
import importlib.util
import io
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.forked import Forks

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
DOCUMENTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
GUIDES = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]

# What makes a command small enough for a test, the first that fits; all else in it stays.
SMALLER = {
    r"charlm-train --minutes 1\b": "charlm-train book.txt --epochs 2 --hidden 16",
    r"(charlm-train .*)--minutes \d+": r"\1--epochs 1 --hidden 16 --no-report",
    r"charlm-train (.*--init-from)": r"charlm-train --no-report \1",
    r"charlm-report ": "charlm-report --seconds 1 --sample 1000 ",
    r"charlm-export ": "charlm-export --no-siblings ",
}
BOOK, SHORT = 10_000, 2_000  # characters
NUMBER = re.compile(r"\d+([,.]\d+)*(e-?\d+)?")
FENCE = re.compile(
    r"(?:<!-- (?P<how>[\w ]+): [^>]+ -->\n)?"
    r"```(?P<language>console|python)\n(?P<body>.*?)```\n"
    r"(?:\n```text\n(?P<text>.*?)```\n)?",
    re.DOTALL,
)
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SCRIPTS: dict[str, str] = PROJECT["scripts"]
HOW = (None, "figures vary", "output varies", "not run")


@dataclass(frozen=True)
class Block:
    """A piece of shell or Python, and how its output is judged."""

    language: str
    body: str
    text: str
    how: str | None

    def judge(self, given: str, shown: str, what: str) -> None:
        """Hold the output against what the document shows."""
        if self.how == "output varies":
            assert given.strip(), f"{what} shows nothing"
            return
        lines = ["\n".join(line.rstrip() for line in each.splitlines()) for each in (given, shown)]
        if self.how == "figures vary":
            lines = [NUMBER.sub("0", each) for each in lines]
        given, shown = lines
        pattern = "".join(
            "(?:.*\n)*" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + "\n"
            for line in shown.splitlines()
        )
        assert re.fullmatch(pattern, given + "\n" if given else ""), f"{what} gives:\n{given}"


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that can be run."""
    content = page.read_text(encoding="utf-8")
    found = [Block(each["language"], each["body"], each["text"] or "", each["how"])
             for each in FENCE.finditer(content)]  # fmt: skip
    assert len(found) == content.count("```console\n") + content.count("```python\n")
    assert all(each.how in HOW for each in found)
    return [each for each in found if each.how != "not run"]


def commands(body: str) -> Iterator[tuple[str, str]]:
    """The commands of a block of shell, each with the output that is shown."""
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        found = re.match(r"(?:.*\\\n)*.*\n(?:> .*\n)*", part)
        assert found is not None
        yield re.sub("^> ", "", found[0], flags=re.MULTILINE), part[found.end() :]


def smaller(command: str) -> str:
    """The same command with little work to do."""
    for large, small in SMALLER.items():
        if re.search(large, command):
            return re.sub(large, small, command)
    return command


def run(command: str, folder: Path, forks: Forks) -> tuple[int, str]:
    """Run a command as a reader of the page does, and give its exit code and all that it shows.

    One of charlm's own runs in a process that was forked; what needs a shell has one.
    """
    command = smaller(command)
    words = shlex.split(command.replace("\\\n", ""))
    if words[0] in SCRIPTS and not set(command) & set("|&;<>$`*"):
        done = forks(
            SCRIPTS[words[0]], *words, folder=folder, together=True, variables={"COLUMNS": "100"}
        )
    else:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )
    return done.returncode, done.stdout


@pytest.fixture
def folder(tmp_path: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a page's reader stands: with texts, and with the run that the tutorial leaves."""
    from charlm.data.text.corpus import SAMPLE

    text = SAMPLE.read_text(encoding="utf-8")
    (tmp_path / "book.txt").write_text(text[:BOOK], encoding="utf-8")
    for start, name in enumerate(("one", "two", "new")):
        (tmp_path / f"{name}.txt").write_text(text[start * SHORT :][:SHORT], encoding="utf-8")
    (tmp_path / "latin.txt").write_text("café " * SHORT, encoding="latin-1")
    shutil.copytree(tiny_run, tmp_path / "runs" / "first")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="the documents have a POSIX shell's commands")
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_what_a_guide_shows_is_what_comes(page: Path, folder: Path, forks: Forks) -> None:
    if page.stem == "tutorial":
        shutil.rmtree(folder / "runs")
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as given:
                exec(compile(block.body, page.name, "exec"), names)
            block.judge(given.getvalue(), block.text, block.body)
            continue
        for command, shown in commands(block.body):
            code, output = run(command, folder, forks)
            mistake = re.fullmatch(r"charlm-\w+: .*\n", shown)
            assert code == (2 if mistake else 0), f"{command} gives:\n{output}"
            block.judge(output, shown, command)


def anchors(document: Path) -> set[str]:
    """What a link to a heading of the document may name."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", each).strip().lower().replace(" ", "-") for each in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: str(each.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    for name, anchor in LINK.findall(document.read_text(encoding="utf-8")):
        target = document if not name else document.parent / name
        assert target.exists(), f"{name}: no such file"
        assert not anchor or anchor in anchors(target), f"{name}#{anchor}: no such heading"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in PAGES:
        assert f" {page.relative_to(DOCS).as_posix()}\n" in navigation


@pytest.fixture(scope="module")
def build() -> ModuleType:
    """`docs/build.py`."""
    spec = importlib.util.spec_from_file_location("docs_build", DOCS / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_has_the_commands_as_they_are(build: ModuleType) -> None:
    assert build.REFERENCE.read_text(encoding="utf-8") == build.reference(), (
        "write it anew with: python docs/build.py"
    )


def test_the_reference_has_every_public_name() -> None:
    page = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    for package in ("data", "train", "export", "infer"):
        section = page.split(f"## charlm.{package}\n")[1].split("\n## ")[0]
        for name in importlib.import_module(f"charlm.{package}").__all__:
            assert re.search(rf"\b{name}\b", section), f"charlm.{package}.{name}"


def test_a_link_out_of_the_pages_leads_to_the_repository(build: ModuleType) -> None:
    page = DOCS / "how-to" / "score.md"
    assert build.linked(page, "[a](../MODEL_FILE.md#prompts)") == "[a](../MODEL_FILE.md#prompts)"
    assert build.linked(page, "[a](../../train/)") == f"[a]({build.FILES}train)"
