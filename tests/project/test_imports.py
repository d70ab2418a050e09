"""The direction of imports, and which commands stay light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ORDER = ("data", "train", "export", "infer", "benchmarks")
ALLOWED = {
    "data": set(),
    "train": {"data"},
    "export": {"data", "train"},
    "infer": {"data"},
    "benchmarks": {"data", "train", "export", "infer"},
}
CONTRACT = "charlm.export.contract"
# `--init-from` takes exported models, which export reads, and the names of those that infer ships;
# `charlm show` and `charlm export --model` take these names too.
AGAINST_THE_FLOW = {
    "export/cli.py": ("charlm.infer.model.shipped",),
    "export/show.py": ("charlm.infer.model.shipped",),
    "export/hosts/web.py": ("charlm.infer.model.shipped",),
    "train/setup/source.py": ("charlm.export.as_source", "charlm.infer.model.shipped"),
}


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Each module that a file imports, anywhere in it, and the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield module, node.lineno
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)


def files(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


@pytest.mark.parametrize("package", ORDER)
def test_imports_flow_from_data_to_benchmarks(package: str) -> None:
    for path in files(package):
        excepted = AGAINST_THE_FLOW.get(path.relative_to(ROOT).as_posix(), ())
        for module, line in imports(path):
            if not module.startswith("charlm.") or module.startswith(excepted):
                continue
            other = module.split(".")[1]
            through_contract = package == "infer" and (
                module.startswith(CONTRACT) or module == CONTRACT or module == "charlm.export"
            )
            assert other == package or other in ALLOWED[package] or through_contract, (
                f"{path}:{line}: charlm.{package} may not import {module}"
            )


@pytest.mark.parametrize("package", [*ORDER, "tests"])
def test_no_bare_import_of_a_folder(package: str) -> None:
    for path in files(package):
        for module, line in imports(path):
            assert module.split(".")[0] not in ORDER, f"{path}:{line}: bare import of {module}"


@pytest.mark.parametrize("package", ["data", "infer"])
def test_torch_and_onnx_are_not_imported(package: str) -> None:
    for path in files(package):
        for module, line in imports(path):
            assert module.split(".")[0] not in ("torch", "onnx"), f"{path}:{line}: {module}"


@pytest.mark.parametrize("samples", ["1", "3"])
def test_charlm_gen_of_a_few_texts_loads_nothing_that_it_does_not_use(samples: str) -> None:
    given = ["the", "--length", "100", "--seed", "1", "--samples", samples]
    modules = modules_after(
        "from charlm.data.system import console; from charlm.infer.cli.gen import app; "
        f"code = console.exit_code(app, 'charlm-gen', {given!r}); assert code == 0"
    )
    assert ("charlm.infer.batch.scheduler" in modules) == (samples == "3")
    assert {"onnxruntime", "numpy"} <= modules
    unused = {"torch", "onnx", "rich", "matplotlib", "pydantic"}
    assert not modules & {*unused, "numpy.random"}
    assert samples == "3" or "concurrent.futures" not in modules


def test_charlm_import_loads_no_tensorflow_and_keeps_keras_out_of_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.delenv("KERAS_HOME", raising=False)
    folder = ROOT / "tests" / "train" / "keras"
    given = [
        str(folder / "notebook-3.keras"), "--corpus", str(folder / "corpus.txt"),
        "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    loaded = loaded_after(
        "from charlm.data.system import console; from charlm.train.keras.import_cli import app; "
        f"code = console.exit_code(app, 'charlm-import', {given!r}); assert code == 0"
    )
    assert not loaded & {"tensorflow", "tf_keras", "jax", "onnxruntime"}
    assert not (home / ".keras").exists()


def test_charlm_score_of_one_file_loads_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the lamp in the cellar", encoding="utf-8")
    modules = modules_after(
        "from charlm.data.system import console; from charlm.infer.cli.score import app; "
        f"code = console.exit_code(app, 'charlm-score', [{str(text)!r}]); assert code == 0"
    )
    assert "charlm.infer.scoring.score" in modules
    for module in ("statistics", "concurrent.futures", "numpy.random", "rich"):
        assert module not in modules


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("charlm.data.cli", {"torch", "onnx", "onnxruntime", "numpy", "rich"}),
        ("charlm.train.cli", {"torch", "onnx", "onnxruntime", "matplotlib"}),
        ("charlm.train.runs.cli", {"torch", "numpy", "rich"}),
        ("charlm.export.show", {"torch", "onnx", "onnxruntime", "numpy", "rich"}),
        ("charlm.train.keras.import_cli", {"torch", "numpy", "keras", "h5py", "rich"}),
        ("charlm.train.report.cli", {"torch", "numpy", "matplotlib", "rich"}),
        ("charlm.export.cli", {"torch", "onnx", "onnxruntime"}),
        ("charlm.infer.cli.gen", {"torch", "onnx", "onnxruntime", "numpy"}),
        ("charlm.infer.cli.score", {"torch", "onnx", "onnxruntime", "numpy"}),
        ("charlm.infer.cli.serve", {"torch", "onnx", "onnxruntime", "numpy", "fastapi"}),
        ("charlm.benchmarks.cli", {"torch", "onnx", "onnxruntime", "tensorflow"}),
    ],
)
def test_help_starts_light(module: str, heavy: set[str]) -> None:
    loaded = loaded_after(
        f"from charlm.data.system import console; from {module} import app; "
        "code = console.exit_code(app, 'charlm', ['--help']); assert code == 0"
    )
    assert not loaded & heavy


def test_the_contract_is_light() -> None:
    loaded = loaded_after("import charlm.export.contract")
    assert not loaded & {"torch", "onnx", "onnxruntime"}


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running `code`."""
    return {module.split(".")[0] for module in modules_after(code)}


def modules_after(code: str) -> set[str]:
    """All modules that a fresh interpreter holds after running `code`."""
    report = f"{code}\nimport sys\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines())
