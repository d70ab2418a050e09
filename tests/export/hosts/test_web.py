"""`charlm export --web`: what is written, and where it is not."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from charlm.export.contract import PLAYGROUND
from charlm.export.hosts.web import RUNTIME, RUNTIME_FILES
from charlm.infer.model.shipped import shipped_model

Export = Callable[..., tuple[int, list[str]]]
Refuses = Callable[..., None]


@pytest.fixture
def runtime() -> Path:
    """A package of that name in the current folder."""
    (RUNTIME / "dist").mkdir(parents=True)
    for name in RUNTIME_FILES:
        (RUNTIME / "dist" / name).write_bytes(name.encode())
    return RUNTIME


def written() -> dict[str, bytes]:
    paths = (path for path in Path("page").rglob("*") if path.is_file())
    return {path.relative_to("page").as_posix(): path.read_bytes() for path in paths}


def test_a_run_becomes_a_model_and_its_page(export: Export, tiny_run: Path, runtime: Path) -> None:
    code, lines = export("model.onnx", "--run", tiny_run, "--no-siblings", "--web", "page")
    assert (code, lines[-1]) == (0, "next: python3 -m http.server --directory page")
    assert json.loads(written()["static/model.json"]) == json.loads(Path("model.json").read_bytes())
    assert written()["static/model.onnx"] == Path("model.onnx").read_bytes()


def test_an_existing_model_becomes_a_page(export: Export, runtime: Path) -> None:
    """An earlier page gives way to it; what it reads is all there, and of no other host."""
    for _ in range(2):
        assert export("--web", "page", "--model", "lovecraft")[0] == 0
    files = written()
    assert files.pop("static/model.onnx") == shipped_model().read_bytes()
    assert json.loads(files.pop("static/model.json")) == json.loads(
        shipped_model().with_suffix(".json").read_bytes()
    )
    for name, ours in RUNTIME_FILES.items():
        assert files.pop(f"static/{ours}") == name.encode()
    config = files.pop("static/config.js").decode()
    assert '{"backend": "local", "model": "model.onnx", "name": "lovecraft"}' in config
    assert files.pop("index.html") == (PLAYGROUND / "index.html").read_bytes()
    own = {path.name for path in PLAYGROUND.iterdir()} - {"index.html", "config.js", "server.js"}
    assert {name.removeprefix("static/") for name in files} == own
    for path in PLAYGROUND.iterdir():
        addresses = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "://" not in addresses, path


def test_what_it_refuses(refuses: Refuses, tiny_run: Path, runtime: Path) -> None:
    """Before anything is written."""
    Path("page").mkdir()
    Path("page/notes.txt").write_text("mine")
    refuses("--web", "page", saying="page holds other things, such as notes.txt")
    Path("page/notes.txt").rename("page/index.html")  # a site of the user's
    refuses("--web", "page", saying="page holds other things, such as index.html")
    Path("page/index.html").unlink()
    refuses("--web", "page", "--ort-web", "other", saying="npm install onnxruntime-web")
    sibling = shipped_model().with_suffix(".generate.onnx")
    refuses("--web", "page", "--model", sibling, saying="name the model that it stands beside")
    refuses("--web", "page", "--verify-only", "m.onnx", saying="--web goes with MODEL.onnx")
    refuses("m.onnx", "--web", "page", "--model", "lovecraft", saying="not both")
    for other in (["page/m.onnx"], ["m.onnx", "--genai", "page"], ["m.onnx", "--triton", "page"]):
        refuses(*other, "--run", tiny_run, "--web", "page", saying="page is to hold something else")
    refuses("m.onnx", "--ort-web", "other", saying="--ort-web goes with --web")
    assert written() == {}
