"""Keras files that charlm can't or must not read: what each is refused with."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")  # of the extra keras

from charlm.data.system.errors import ModelFileError  # noqa: E402
from charlm.train.keras.keras_file import read_keras  # noqa: E402

HERE = Path(__file__).parent
WINDOWS = np.random.default_rng(0).integers(34, size=(3, 40))
Config = dict[str, Any]
LSTM, DENSE = 1, 2  # places among the notebook's layers


def refusal(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        read_keras(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") or message.startswith(f"can't read {path}")
    assert len(message.splitlines()) == 1
    assert len(message) < 1000
    return message


def with_config(
    folder: Path, change: Callable[[Config], None], name: str = "notebook-3.h5"
) -> Path:
    """A copy of a fixture whose configuration was changed."""
    path = folder / name
    shutil.copy(HERE / name, path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)
    return path


def option(place: int, **options: object) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        config["config"]["layers"][place]["config"].update(options)

    return change


def layer(place: int, kind: str, **options: object) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        named = {"name": "new", **options}
        config["config"]["layers"][place] = {"class_name": kind, "config": named}

    return change


def insert(place: int, kind: str, **options: object) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        named = {"class_name": kind, "config": {"name": "new", **options}}
        config["config"]["layers"].insert(place, named)

    return change


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (layer(LSTM, "GRU", units=12), "found InputLayer, GRU(12), Dense(34, softmax);"),
        (layer(LSTM, "SimpleRNN", units=12), "found InputLayer, SimpleRNN(12), "),
        (layer(LSTM, "CuDNNLSTM", units=12), "CuDNNLSTM(12)"),
        (layer(LSTM, "Bidirectional", layer={"class_name": "LSTM"}), "Bidirectional(LSTM)"),
        (insert(LSTM, "Embedding", input_dim=34), "InputLayer, Embedding, LSTM(12)"),
        (insert(LSTM, "Lambda", function=["4wEAAA==", None, None]), "InputLayer, Lambda, LSTM"),
        (option(LSTM, activation={"class_name": "__lambda__", "config": {}}), "__lambda__"),
        (insert(DENSE, "Dense", units=5, activation="relu"), "Dense(5, relu), Dense(34, softmax)"),
        (insert(DENSE, "BatchNormalization"), "LSTM(12), BatchNormalization, Dense"),
        (insert(3, "Activation", activation="softmax"), "softmax), Activation(softmax);"),
        (layer(LSTM, "Dropout", rate=0.5), "found InputLayer, Dropout, Dense(34, softmax);"),
        (layer(DENSE, "Dropout", rate=0.5), "found InputLayer, LSTM(12), Dropout;"),
        (option(DENSE, activation="sigmoid"), "Dense(34, sigmoid)"),
        (option(DENSE, use_bias=False), "found a Dense layer with use_bias False"),
        (option(LSTM, use_bias=False), "LSTM layer with use_bias False; supported is True"),
        (option(LSTM, activation="relu"), "LSTM layer with activation relu; supported is tanh"),
        (
            option(LSTM, recurrent_activation="hard_sigmoid"),
            "LSTM layer with recurrent_activation hard_sigmoid; supported is sigmoid",
        ),
        (option(LSTM, go_backwards=True), "LSTM layer with go_backwards True"),
        (option(LSTM, units=0), "found LSTM with 0 units; from 1 to 8192"),
        (option(LSTM, units=10**9), "LSTM with 1000000000 units; from 1 to 8192"),
        (option(LSTM, units="many"), "LSTM with many units"),
        (option(LSTM, units=True), "LSTM with True units"),
        (lambda config: config.update(class_name="Functional"), "found a Functional model"),
        (lambda config: config.update(class_name="A\nB" * 999), "found a A?BA?B"),
        (lambda config: config["config"].update(layers=[]), "found no layers;"),
    ],
)
def test_another_architecture(change: Callable[[Config], None], found: str, tmp_path: Path) -> None:
    message = refusal(with_config(tmp_path, change))
    assert found in message
    assert "charlm-import reads Sequential models of one-hot characters: LSTM" in message or (
        "from 1 to 8192 are supported" in message
    )


def test_stacked_layers_that_do_not_fit_one_another(tmp_path: Path) -> None:
    name = "stacked-2.h5"
    cut = refusal(with_config(tmp_path, option(1, return_sequences=False), name))
    assert "LSTM layer with return_sequences False; supported is True" in cut
    sizes = refusal(with_config(tmp_path, option(1, units=24), name))
    assert "found LSTM layers of 24, 12 units" in sizes


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.pop("config"),
        lambda config: config.update(config=3),
        lambda config: config["config"].update(layers={"a": 1}),
        lambda config: config["config"]["layers"].append(None),
        lambda config: config["config"]["layers"].append({"class_name": "LSTM"}),
        lambda config: config["config"]["layers"][LSTM]["config"].pop("units"),
        option(LSTM, units=11),  # the arrays are of 12
        option(DENSE, units=33),  # and of 34
    ],
)
def test_a_configuration_that_is_none_or_another_models(
    change: Callable[[Config], None], tmp_path: Path
) -> None:
    assert "damaged, or not a whole Keras model" in refusal(with_config(tmp_path, change))


@pytest.mark.parametrize(
    "change",
    [
        option(LSTM, dropout=0.5, recurrent_dropout=0.1, unroll=True),
        option(LSTM, return_sequences=True),
        option(LSTM, dtype="mixed_bfloat16", implementation=1, name="another"),
        insert(DENSE, "GaussianNoise", stddev=0.1),
        option(LSTM, activation={"class_name": "function", "config": "tanh"}),
        lambda config: config.update(config=config["config"]["layers"]),  # Keras before 2.2.3
    ],
)
def test_what_changes_nothing_is_passed_over(
    change: Callable[[Config], None], tmp_path: Path
) -> None:
    found = read_keras(with_config(tmp_path, change))
    wanted = read_keras(HERE / "notebook-3.h5")
    assert np.array_equal(found.logits(WINDOWS), wanted.logits(WINDOWS))
    assert found.architecture == wanted.architecture


def test_keras_before_inputs_were_layers_said_their_shape_in_the_first_one(tmp_path: Path) -> None:
    def older(config: Config) -> None:
        del config["config"]["layers"][0]
        del config["config"]["build_input_shape"]
        config["config"]["layers"][0]["config"]["batch_input_shape"] = [None, 40, 34]

    assert read_keras(with_config(tmp_path, older)).architecture.window == 40


def test_a_state_carried_or_a_length_left_open_is_no_window(tmp_path: Path) -> None:
    for change in (
        option(LSTM, stateful=True),
        option(0, batch_shape=[None, None, 34]),
        option(0, batch_shape=[None, 1 << 20, 34]),
    ):
        assert read_keras(with_config(tmp_path, change)).architecture.window is None


def test_logits_without_a_softmax(tmp_path: Path) -> None:
    found = read_keras(with_config(tmp_path, option(DENSE, activation="linear")))
    assert not found.architecture.softmax


def edited(folder: Path, change: Callable[[Any], None]) -> Path:
    """A copy of a fixture whose arrays were changed."""
    path = folder / "notebook-2.h5"
    shutil.copy(HERE / path.name, path)
    with h5py.File(path, "r+") as file:
        change(file["model_weights/lstm/lstm/lstm_cell"])
    return path


def replace(**how: Any) -> Callable[[Any], None]:
    def change(group: Any) -> None:
        del group["bias:0"]
        group.create_dataset("bias:0", **how)

    return change


def link(target: Any) -> Callable[[Any], None]:
    def change(group: Any) -> None:
        del group["bias:0"]
        group["bias:0"] = target

    return change


def virtual(group: Any) -> None:
    del group["bias:0"]
    layout = h5py.VirtualLayout((48,), np.float32)
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", (48,))
    group.create_virtual_dataset("bias:0", layout)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (link(h5py.ExternalLink("/tmp/other.h5", "/x")), "ExternalLink"),
        (link(h5py.SoftLink("/model_weights")), "SoftLink"),
        (replace(shape=(48,), dtype="f4", external=[("/etc/hostname", 0, 192)]), "external"),
        (virtual, "virtual"),
        (replace(shape=(1 << 28,), dtype="f4", chunks=(1024,)), "larger than the file"),
        (replace(data=np.zeros(47)), "(47,)"),
        (replace(data=0.0), "()"),
        (lambda group: group.__delitem__("bias:0"), "bias:0"),
        (replace(data=np.full(48, np.nan)), "not finite, or not all there"),
    ],
)
def test_arrays_that_are_not_to_be_read(
    change: Callable[[Any], None], words: str, tmp_path: Path
) -> None:
    assert words in refusal(edited(tmp_path, change))


def archive(path: Path, **members: bytes | None) -> Path:
    """A copy of a fixture's archive, its members replaced, or left out where None."""
    names = {"config": "config.json", "metadata": "metadata.json", "weights": "model.weights.h5"}
    with zipfile.ZipFile(HERE / "notebook-3.keras") as whole:
        contents = {key: whole.read(name) for key, name in names.items()} | members
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for key, content in contents.items():
            if content is not None:
                made.writestr(names[key], content)
    return path


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"config": None}, "a zip archive without config.json: not a .keras file"),
        ({"weights": None}, "a zip archive without model.weights.h5: not a .keras file"),
        ({"weights": bytes(1 << 24)}, "model.weights.h5 would unpack to 16,777,216 bytes"),
        ({"config": b" " * ((1 << 24) + 1)}, "config.json would unpack to 16,777,217 bytes"),
        ({"weights": b"text"}, "damaged, or not a whole"),
        ({"config": b""}, "damaged, or not a whole"),
        ({"config": b"[]"}, "damaged, or not a whole"),
        ({"config": b"\xff"}, "damaged, or not a whole"),
        ({"config": b"[" * 200_000}, "damaged, or not a whole"),
    ],
)
def test_archives_that_are_none(
    members: dict[str, bytes | None], words: str, tmp_path: Path
) -> None:
    assert words in refusal(archive(tmp_path / "a.keras", **members))


@pytest.mark.parametrize("lacking", ["layers/lstm/cell/vars/1", "layers/dense/vars/1"])
def test_an_archive_lacking_an_array(lacking: str, tmp_path: Path) -> None:
    weights = io.BytesIO(zipfile.ZipFile(HERE / "notebook-3.keras").read("model.weights.h5"))
    with h5py.File(weights, "r+") as file:
        del file[lacking]
    assert ".keras: " in refusal(archive(tmp_path / "a.keras", weights=weights.getvalue()))


def test_what_is_no_keras_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.keras")
    assert "a folder (a SavedModel?)" in refusal(tmp_path)
    (tmp_path / "text.keras").write_text("not a model", encoding="utf-8")
    assert "neither a .keras archive nor an HDF5 file" in refusal(tmp_path / "text.keras")
    (tmp_path / "empty.h5").touch()
    assert "neither a .keras archive nor an HDF5 file" in refusal(tmp_path / "empty.h5")
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["x"] = 1
    assert "without model_config (weights alone?)" in refusal(tmp_path / "weights.h5")
    with (tmp_path / "huge.h5").open("wb") as huge:
        huge.truncate((1 << 30) + 1)
    assert "too large for such a model" in refusal(tmp_path / "huge.h5")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.keras")
    assert "not an ordinary file" in refusal(tmp_path / "pipe.keras")


def test_the_content_and_not_the_name_says_which_format_it_is(tmp_path: Path) -> None:
    """Early versions wrote HDF5 under either name."""
    shutil.copy(HERE / "stacked-2.h5", tmp_path / "old.keras")
    shutil.copy(HERE / "stacked-2.keras", tmp_path / "new.h5")
    old, new = (read_keras(tmp_path / name) for name in ("old.keras", "new.h5"))
    assert np.array_equal(old.logits(WINDOWS), new.logits(WINDOWS))


def test_keras_with_another_backend_is_one_line(tmp_path: Path) -> None:
    """In a process whose user began with it."""
    script = (
        "import importlib.machinery, sys, types\n"
        "keras = sys.modules['keras'] = types.ModuleType('keras')\n"
        "keras.__spec__ = importlib.machinery.ModuleSpec('keras', None)\n"
        "keras.config = types.SimpleNamespace(backend=lambda: 'jax')\n"
        "from charlm.train.keras.import_cli import app; from charlm.data.system import console\n"
        "sys.exit(console.exit_code(app, 'charlm-import', sys.argv[1:]))"
    )
    given = [HERE / "notebook-3.h5", "--corpus", HERE / "corpus.txt", "--out", tmp_path / "run"]
    done = subprocess.run([sys.executable, "-c", script, *given], capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "imported with the backend jax" in line
    assert "KERAS_BACKEND=torch" in line


@pytest.mark.parametrize("name", ["notebook-2.h5", "notebook-3.keras"])
def test_damage_anywhere_is_one_line_or_does_no_harm(name: str, tmp_path: Path) -> None:
    whole = (HERE / name).read_bytes()
    wanted = read_keras(HERE / name).architecture
    draw = np.random.default_rng(5)
    path = tmp_path / name
    for _ in range(100):
        damaged = bytearray(whole)
        for place in draw.integers(len(whole), size=draw.integers(1, 40)):
            damaged[place] = draw.integers(256)
        path.write_bytes(damaged if draw.random() < 0.7 else damaged[: draw.integers(len(whole))])
        with contextlib.suppress(ModelFileError):  # anything else fails the test
            found = read_keras(path)
            assert found.weights()[-2].shape == (wanted.hidden, wanted.vocabulary)


def test_reading_changes_no_file() -> None:
    before = (HERE / "notebook-3.h5").read_bytes()
    read_keras(HERE / "notebook-3.h5")
    assert (HERE / "notebook-3.h5").read_bytes() == before
