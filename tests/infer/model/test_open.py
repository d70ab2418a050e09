"""Opening model files, good, damaged and hostile, and the siblings beside them."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from charlm.data.system.errors import ModelFileError, ProviderError, SettingsError
from charlm.export import contract
from charlm.export.contract import GENERATE, KEY_KIND, SEQUENCE, Metadata, sibling_path
from charlm.export.contract import native as contract_native
from charlm.infer.generator import Generator
from charlm.infer.model import open as opening
from charlm.infer.model import providers
from charlm.infer.model.open import open_model, start_session
from charlm.infer.request import Request

Change = Callable[[onnx.ModelProto], None]


@pytest.fixture
def altered(small_content: bytes, tmp_path: Path) -> Callable[[Change], Path]:
    """The small model's file after a change to its protobuf."""

    def write(change: Change) -> Path:
        model = onnx.load_model_from_string(small_content)
        change(model)
        path = tmp_path / "m.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return write


def test_a_good_file_opens(small_path: Path, small_metadata: Metadata) -> None:
    model = open_model(small_path, "cpu")
    assert (model.device, model.threads, model.note) == ("cpu", 1, None)
    assert model.metadata.vocabulary == small_metadata.vocabulary
    assert model.metadata.initial == pytest.approx(small_metadata.initial)
    assert model.metadata.weights_sha256 == small_metadata.weights_sha256
    assert model.session is model.session
    options = model.session.get_session_options()
    assert options.intra_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize("name", ["é ü", "m" * 200, "-", "%d"])
def test_any_name_will_do(small_content: bytes, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(small_content)
    assert open_model(path, "cpu").device == "cpu"


def test_threads_are_chosen_by_size(small_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_model(small_path, "cpu", threads=3).threads == 3
    monkeypatch.setattr(opening, "SINGLE_THREAD_BYTES", 10)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    model = open_model(small_path, "cpu")
    assert model.threads == 2
    assert model.session.get_session_options().intra_op_num_threads == 2


@pytest.mark.parametrize("threads", [0, -1, 257])
def test_an_impossible_number_of_threads_is_refused(small_path: Path, threads: int) -> None:
    with pytest.raises(SettingsError, match="`threads` is from 1 to 256"):
        open_model(small_path, "cpu", threads=threads)


@pytest.mark.parametrize(
    "content", [b"\x00", b"\xff" * 64, b"onnx", b"\x08\x08" * 1000, bytes(range(256)) * 50]
)
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"m\.onnx: ") as raised:
        open_model(path, "cpu")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99, 0.9999])
def test_a_truncated_file_is_refused(small_content: bytes, tmp_path: Path, share: float) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(small_content[: int(len(small_content) * share)])
    with pytest.raises(ModelFileError, match=r"m\.onnx: "):
        open_model(path, "cpu")


def test_bytes_turned_over_are_refused_or_harmless(small_content: bytes, tmp_path: Path) -> None:
    """A flipped byte may hit a weight; anything else must end in one clear error."""
    path = tmp_path / "m.onnx"
    random = np.random.RandomState(0)
    # The names of nodes and tensors stand before the weights, the metadata after them.
    places = [*random.randint(0, 1900, 200), *random.randint(-1100, 0, 200)]
    for place, value in zip(places, random.randint(0, 256, 400), strict=True):
        spoilt = bytearray(small_content)
        spoilt[place] = value
        path.write_bytes(spoilt)
        with contextlib.suppress(ModelFileError):
            Generator.open(path, "cpu").text("a", length=3)


def test_a_foreign_model_is_refused(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["b", 2]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [x], [y])
    opset = [helper.make_opsetid("", 17)]
    path = tmp_path / "m.onnx"
    onnx.save_model(helper.make_model(graph, ir_version=8, opset_imports=opset), path)
    with pytest.raises(ModelFileError, match=r"no charlm\.format .*not a charlm model"):
        open_model(path, "cpu")


def set_property(key: str, value: str | None) -> Change:
    def change(model: onnx.ModelProto) -> None:
        kept = {entry.key: entry.value for entry in model.metadata_props if entry.key != key}
        del model.metadata_props[:]
        helper.set_model_props(model, kept if value is None else kept | {key: value})

    return change


def rename(old: str, new: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        for value in (*model.graph.input, *model.graph.output):
            value.name = new if value.name == old else value.name
        for node in model.graph.node:
            node.input[:] = [new if name == old else name for name in node.input]
            node.output[:] = [new if name == old else name for name in node.output]

    return change


def resize(**sizes: int) -> Change:
    """Metadata that gives other sizes than the graph has."""

    def change(model: onnx.ModelProto) -> None:
        (entry,) = (e for e in model.metadata_props if e.key == contract.KEY_CONFIG)
        entry.value = json.dumps(json.loads(entry.value) | sizes)

    return change


def another_vocabulary(model: onnx.ModelProto) -> None:
    characters = "abc"
    resize(vocabulary=3)(model)
    set_property(contract.KEY_VOCABULARY, json.dumps(list(characters)))(model)
    set_property(contract.KEY_INITIAL, "[0.5, 0.25, 0.25]")(model)


def fix_the_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def add_an_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, ["n"]))


def add_an_output(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Identity", ["logits"], ["more"]))
    model.graph.output.append(
        helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, ["batch", 28])
    )


def add_a_number(model: onnx.ModelProto) -> None:
    """An output that has no batch."""
    model.graph.node.append(helper.make_node("Squeeze", ["logits"], ["more"]))
    model.graph.output.append(helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, []))


def drop_an_output(model: onnx.ModelProto) -> None:
    del model.graph.output[2]


def token_of_another_type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT32


@pytest.mark.parametrize(
    "change",
    [
        rename("token", "tokens"),
        rename("h", "hidden"),
        rename("c_next", "cell"),
        rename("logits", "scores"),
        resize(hidden=15),
        resize(layers=1),
        another_vocabulary,
        fix_the_batch,
        add_an_input,
        add_an_output,
        add_a_number,
        drop_an_output,
        token_of_another_type,
    ],
)
def test_other_tensors_than_the_contracts_are_refused(
    altered: Callable[[Change], Path], change: Change
) -> None:
    with pytest.raises(ModelFileError, match=r"m\.onnx: not a charlm step graph: its tensors are"):
        _ = open_model(altered(change), "cpu").session


@pytest.mark.parametrize("via", ["native", "steps"])
def test_weights_that_are_not_finite_are_a_clear_error(damaged_path: Path, via: str) -> None:
    generator = Generator.open(damaged_path, "cpu", via=via)
    for prompt in ("", "a"):
        with pytest.raises(ModelFileError, match="not finite"):
            generator.text(prompt, length=5)
        with pytest.raises(ModelFileError, match="not finite"):
            list(generator.batch([Request(prompt, 5)]))


@pytest.mark.parametrize("location", ["m.data", "./m.data", "../place/m.data", "absolute"])
@pytest.mark.parametrize("where", ["place", "elsewhere"])
def test_weights_in_another_file_are_never_read(
    small_content: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    location: str,
    where: str,
) -> None:
    """The file lies ready beside the model, in the current folder or not: it stays unread."""
    place = tmp_path / "place"
    place.mkdir()
    (tmp_path / "elsewhere").mkdir()
    model = onnx.load_model_from_string(small_content)
    path, data = place / "m.onnx", place / "m.data"
    onnx.save_model(model, path, save_as_external_data=True, location="m.data", size_threshold=512)
    lean = onnx.load_model(path, load_external_data=False)
    outside = [t for t in lean.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    assert outside
    for tensor in outside:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = str(data) if location == "absolute" else location
    path.write_bytes(lean.SerializeToString())
    assert data.stat().st_size > 1000
    monkeypatch.chdir(tmp_path / where)
    for named in (path, Path(os.path.relpath(path))):
        with pytest.raises(ModelFileError, match=r"m\.onnx: ONNX Runtime can't load it: "):
            open_model(named, "cpu")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The devices that native sessions are started on; the GPU does not start."""
    devices: list[str] = []

    def start(content: bytes, options: Any) -> Any:
        devices.append(options.get_session_config_entry(contract_native.KEY_DEVICE))
        if devices[-1] == "cuda":
            raise Fail("CharLSTM: starting the device failed: it is on fire\nand more")
        return start_session(content, options)

    monkeypatch.setattr(opening, "start_session", start)
    monkeypatch.setattr(
        providers,
        "choose",
        lambda wanted, *_: providers.Choice("cpu" if wanted == "cpu" else "cuda"),
    )
    return devices


def test_auto_falls_to_the_cpu_where_a_gpu_does_not_start(
    small_path: Path, started: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    model = open_model(small_path, "auto")
    assert (model.device, model.note) == (
        "cpu",
        "an NVIDIA GPU is here but is not used: starting the device failed: it is on fire",
    )
    assert Generator(model).text("a", length=5, seed=1)
    assert started == ["cuda", "cpu"]
    assert capfd.readouterr().out == ""


def test_a_gpu_that_does_not_start_is_an_error_where_it_was_asked_for(
    small_path: Path, started: list[str]
) -> None:
    """But where what it lacks is the precision, that is told."""
    with pytest.raises(SettingsError, match="`precision` int8 runs with `provider` cpu only"):
        Generator.open(small_path, "cuda", precision="int8")
    assert not started
    saying = r"^`provider` cuda can't run here: .*on fire; or leave out `precision` fp16$"
    with pytest.raises(ProviderError, match=saying):
        open_model(small_path, "cuda", precision="fp16")
    started.clear()
    with pytest.raises(SettingsError, match="`precision` is one of"):
        Generator.open(small_path, precision="int4")
    saying = r"^`provider` cuda can't run here: starting the .* on fire; or use `provider` cpu$"
    with pytest.raises(ProviderError, match=saying):
        open_model(small_path, "cuda")


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize("provider", ["auto", "cuda"])
def test_a_bad_file_is_not_blamed_on_the_gpu(damaged_path: Path, provider: str) -> None:
    with pytest.raises(ModelFileError, match=r"d\.onnx: recurrent holds numbers that are not fin"):
        open_model(damaged_path, provider)


def test_a_session_is_started_once_it_is_wanted(small_path: Path, started: list[str]) -> None:
    model = open_model(small_path, "cpu")
    assert not started
    assert model.native("float32", 1) is model.native("float32", 1)
    assert started == ["cpu"]
    assert model.native("float32", 2) is not model.native("float32", 1)


def test_without_the_native_operator_a_model_is_checked_at_once(
    altered: Callable[[Change], Path], small_path: Path, portable: Callable[..., Generator]
) -> None:
    """So that one that can't be stepped is refused before anything is drawn."""
    with pytest.raises(ModelFileError, match="not a charlm step graph"):
        portable(altered(rename("token", "tokens")))
    model = portable(small_path).model
    assert not model.uses_native("float32")
    assert "install charlm again where there is a C++ compiler" in str(model.without_native)
    assert model.note is None, "nobody is told on each run"


def test_weights_that_the_native_operator_can_not_take_leave_the_step_graph(
    altered: Callable[[Change], Path], small: Generator
) -> None:
    """Here under a name of their own."""

    def rename_weights(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.input[:] = ["mine" if name == "head" else name for name in node.input]
        for tensor in model.graph.initializer:
            tensor.name = "mine" if tensor.name == "head" else tensor.name

    generator = Generator.open(altered(rename_weights), "cpu")
    assert generator.model.note == generator.model.without_native
    assert "its weights 'head' are missing" in str(generator.model.note)
    assert generator.text("a", length=50, seed=1) == small.text("a", length=50, seed=1)


@pytest.fixture
def whole(exact_with_siblings: Path, tmp_path: Path) -> Path:
    """A copy of a model and its siblings, to be spoiled."""
    for path in exact_with_siblings.parent.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path / exact_with_siblings.name


def edited(path: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    graph = onnx.load(str(path))
    change(graph)
    path.write_bytes(graph.SerializeToString())


def test_siblings_that_are_there_are_known_and_opened_once(whole: Path) -> None:
    model = open_model(whole, "cpu")
    assert model.has(GENERATE)
    assert model.has(SEQUENCE)
    session = model.sibling(GENERATE)
    assert model.sibling(GENERATE) is session
    assert model.sibling(GENERATE, threads=2) is not session
    sibling_path(whole, SEQUENCE).unlink()
    assert not model.has(SEQUENCE)
    with pytest.raises(ModelFileError, match=r"exact\.sequence\.onnx"):
        model.sibling(SEQUENCE)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def write_property(key: str, value: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        edited(path, set_property(key, value))

    return write


def put_sequence_there(path: Path) -> None:
    shutil.copy(path.with_name("exact.sequence.onnx"), path)


def lie(path: Path) -> None:
    put_sequence_there(path)
    edited(path, set_property(KEY_KIND, GENERATE.name))


@pytest.mark.parametrize(
    ("spoil", "saying"),
    [
        (cut_short, r"generate\.onnx: not an ONNX file, or damaged"),
        (write_property(contract.KEY_WEIGHTS, "0" * 64), "made from other weights"),
        (put_sequence_there, "says that it is 'sequence'"),
        (lambda path: shutil.copy(path.with_name("exact.onnx"), path), "says that it is 'None'"),
        (lie, "not a charlm graph of kind generate: its tensors are"),
    ],
)
def test_a_sibling_that_is_not_what_it_should_be_is_refused(
    whole: Path, spoil: Callable[[Path], None], saying: str
) -> None:
    spoil(sibling_path(whole, GENERATE))
    with pytest.raises(ModelFileError, match=saying) as caught:
        open_model(whole, "cpu").sibling(GENERATE)
    assert "\n" not in str(caught.value)


def test_weights_of_a_sibling_in_another_file_are_refused(whole: Path) -> None:
    def outside(graph: onnx.ModelProto) -> None:
        (scan,) = (node for node in graph.graph.node if node.op_type == "Scan")
        (body,) = (each.g for each in scan.attribute if each.name == "body")
        tensor = body.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "elsewhere.bin"

    edited(sibling_path(whole, GENERATE), outside)
    (whole.parent / "elsewhere.bin").write_bytes(bytes(1 << 16))
    with pytest.raises(ModelFileError):
        open_model(whole, "cpu").sibling(GENERATE)
