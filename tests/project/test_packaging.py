"""The wheel: exactly the packages' files, and it works where it is unpacked."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from charlm.export.contract import PLAYGROUND
from charlm.export.contract.native import LIBRARY, problem

ROOT = Path(__file__).parents[2]
PACKAGES = ("data", "train", "export", "infer", "benchmarks")
DATA_FILES = {
    "charlm/benchmarks/cases/probe.cpp",
    "charlm/data/sample.txt",
    "charlm/export/playground/app.js",
    "charlm/export/playground/card.js",
    "charlm/export/playground/config.js",
    "charlm/export/playground/icon.svg",
    "charlm/export/playground/index.html",
    "charlm/export/playground/local.js",
    "charlm/export/playground/page.js",
    "charlm/export/playground/sampling.js",
    "charlm/export/playground/server.js",
    "charlm/export/playground/style.css",
    "charlm/export/playground/text.js",
    "charlm/export/playground/writing.js",
    "charlm/infer/models/README.md",
    "charlm/infer/models/lovecraft.json",
    "charlm/infer/models/lovecraft.onnx",
    "charlm/infer/models/lovecraft.generate.onnx",
    "charlm/infer/models/lovecraft.sequence.onnx",
    "charlm/infer/models/lovecraft-large.json",
    "charlm/infer/models/lovecraft-large.onnx",
}


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy of the tree, with things lying about that must stay out of a wheel."""
    copy = tmp_path_factory.mktemp("clean") / "charlm"
    copy.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    ignored = shutil.ignore_patterns("__pycache__", LIBRARY.name)
    for name in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    (copy / "benchmarks" / "results").mkdir(exist_ok=True)
    (copy / "benchmarks" / "results" / "stray.json").write_text("{}")
    (copy / "runs").mkdir()
    (copy / "model.onnx").write_bytes(b"stray")
    return copy


def built(source: Path, out: Path, **environment: str) -> Path:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source],
        check=True,
        capture_output=True,
        env={**os.environ, **environment},
    )
    (wheel,) = out.glob("*.whl")
    return wheel


def unpacked(wheel: Path, target: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--target", target, wheel],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return target


# In a compiler's place: objects are empty files, and what is linked is there already.
LINKED = """#!/bin/sh
for word; do
  case $word in -c) compiles=yes ;; esac
  [ "$before" = -o ] && out=$word
  before=$word
done
if [ "$compiles" ]; then : > "$out"; else cp "{library}" "$out"; fi
"""


@pytest.fixture(scope="session")
def wheel(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the operator that the tests run with, which the same `setup.py` compiled."""
    folder = tmp_path_factory.mktemp("wheel")
    compiler = folder / "linked"
    compiler.write_text(LINKED.format(library=LIBRARY), encoding="utf-8")
    compiler.chmod(0o755)
    given = {} if problem() or os.name != "posix" else {"CC": compiler, "CXX": compiler}
    return built(clean, folder / "dist", **{name: str(path) for name, path in given.items()})


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(wheel, tmp_path_factory.mktemp("installed"))


def test_wheel_holds_exactly_the_packages_files(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = {
        f"charlm/{path.relative_to(ROOT).as_posix()}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    typed = {f"charlm/{package}/py.typed" for package in PACKAGES}
    library = set() if problem() else {f"charlm/infer/native/{LIBRARY.name}"}
    page = {f"charlm/export/playground/{each.name}" for each in PLAYGROUND.iterdir()}
    assert names == sources | typed | DATA_FILES | library | page


def test_wheel_is_for_any_python_on_this_platform(wheel: Path) -> None:
    assert re.search(r"-py3-none-(?!any)\w+\.whl$", wheel.name)


def test_wheel_is_small(wheel: Path) -> None:
    """Three graphs of `lovecraft`, 0.8 MB each, and `lovecraft-large`, of 2.8."""
    assert wheel.stat().st_size < 6_500_000


def test_every_package_is_listed(wheel: Path) -> None:
    """A new sub-folder with code in it must be named in pyproject.toml to be shipped."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(setuptools["tool"]["setuptools"]["packages"])
    found = {
        "charlm." + ".".join(path.parent.relative_to(ROOT).parts)
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert listed == found


def test_installed_wheel_works_from_another_folder(installed: Path, tmp_path: Path) -> None:
    text = run_installed(
        installed, tmp_path, "charlm.infer.cli.gen", "the nameless", "--length", "40", "--seed", "1"
    )
    assert text.stdout.startswith("the nameless")
    assert len(text.stdout) == len("the nameless") + 40 + 1
    assert "Lovecraft" in text.stderr


def test_installed_wheel_generates_by_the_native_operator(installed: Path, tmp_path: Path) -> None:
    if problem():
        pytest.skip(f"{problem()}")
    given = ("the nameless", "--length", "40", "--seed", "1", "--explain")
    text = run_installed(installed, tmp_path, "charlm.infer.cli.gen", *given)
    assert "path: native operator" in text.stderr


def test_without_a_compiler_it_installs_and_says_what_is_missing(
    clean: Path, tmp_path: Path
) -> None:
    """And writes the same text by portable graphs."""
    source = tmp_path / "source"
    shutil.copytree(clean, source, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    wheel = built(source, tmp_path / "wheel", CC="/bin/false", CXX="/bin/false")
    assert not any(LIBRARY.name in name for name in zipfile.ZipFile(wheel).namelist())
    target = unpacked(wheel, tmp_path / "target")
    given = ("the nameless", "--length", "900", "--seed", "1", "--explain")
    text = run_installed(target, tmp_path, "charlm.infer.cli.gen", *given)
    assert "path: blocks, since the native operator was not built: install charlm again" in (
        text.stderr
    )
    here = [sys.executable, "-m", "charlm.infer.cli.gen", *given]
    done = subprocess.run(here, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert text.stdout == done.stdout


def test_installed_wheel_carries_the_corpus(installed: Path, tmp_path: Path) -> None:
    code = (
        "import charlm.data.text.corpus as c\n"
        "assert str(c.SAMPLE).startswith(" + repr(str(installed)) + ")\n"
        + "print(len(c.SAMPLE.read_text(encoding='utf-8')))"
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(installed), cwd=tmp_path,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) >= 60_000


def test_commands_are_declared(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (entry_points,) = (n for n in archive.namelist() if n.endswith("entry_points.txt"))
    commands = set(re.findall(r"^(charlm-\w+) =", archive.read(entry_points).decode(), re.M))
    assert commands == {
        "charlm-data", "charlm-train", "charlm-import", "charlm-report", "charlm-export",
        "charlm-gen", "charlm-score", "charlm-serve", "charlm-bench",
    }  # fmt: skip


def test_there_is_no_folder_that_shadows_the_packages() -> None:
    assert not (ROOT / "charlm").exists()


def test_onnxruntime_is_no_base_dependency(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith("METADATA"))
    needs = re.findall(r"^Requires-Dist: (.*)$", archive.read(metadata).decode(), re.M)
    (runtime,) = (line for line in needs if line.startswith("onnxruntime"))
    assert "extra ==" in runtime


def run_installed(
    installed: Path, folder: Path, module: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=environment(installed),
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )


def environment(installed: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
