"""Keras files that charlm can't or must not read: what each is refused with."""

import contextlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from charlm.data.system.errors import ModelFileError
from charlm.train.keras import keras_file
from charlm.train.keras.keras_file import read_keras

HERE = Path(__file__).parent / "keras"
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
        option(LSTM, name=3),
        option(LSTM, name="x" * 100_00),
        lambda config: config["config"]["layers"][LSTM]["config"].pop("units"),
    ],
)
def test_a_configuration_that_is_none(change: Callable[[Config], None], tmp_path: Path) -> None:
    assert "damaged, or not a whole Keras model" in refusal(with_config(tmp_path, change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (option(LSTM, name="another"), "the kernel of 'another' is missing from it"),
        (option(LSTM, units=11), "the kernel of 'lstm' has shape 34x48, not 34x44"),
        (option(DENSE, units=33), "the kernel of 'lstm' has shape 34x48, not 33x48"),
    ],
)
def test_arrays_that_contradict_the_configuration(
    change: Callable[[Config], None], words: str, tmp_path: Path
) -> None:
    names = json.loads(h5py.File(HERE / "notebook-3.h5").attrs["model_config"])
    own = names["config"]["layers"][LSTM]["config"]["name"]
    assert words.replace("'lstm'", repr(own)) in refusal(with_config(tmp_path, change))


@pytest.mark.parametrize(
    "change",
    [
        option(LSTM, dropout=0.5, recurrent_dropout=0.1, unroll=True),
        option(LSTM, return_sequences=True),
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
    assert np.array_equal(found.layers[0].kernel, wanted.layers[0].kernel)
    assert found.architecture == wanted.architecture


def test_a_state_carried_or_a_length_left_open_is_no_window(tmp_path: Path) -> None:
    carried = read_keras(with_config(tmp_path, option(LSTM, stateful=True)))
    assert carried.architecture.window is None
    left_open = read_keras(with_config(tmp_path, option(0, batch_shape=[None, None, 34])))
    assert left_open.architecture.window is None
    endless = read_keras(with_config(tmp_path, option(0, batch_shape=[None, 1 << 20, 34])))
    assert endless.architecture.window is None


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
        values = group["bias:0"][()]
        del group["bias:0"]
        group.create_dataset("bias:0", **({"data": values} | how))

    return change


def link(target: Any) -> Callable[[Any], None]:
    def change(group: Any) -> None:
        del group["bias:0"]
        group["bias:0"] = target

    return change


def outside(group: Any) -> None:
    del group["bias:0"]
    place = ("/etc/hostname", 0, 192)
    group.create_dataset("bias:0", (48,), np.float32, external=[place])


def virtual(group: Any) -> None:
    del group["bias:0"]
    layout = h5py.VirtualLayout((48,), np.float32)
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", (48,))
    group.create_virtual_dataset("bias:0", layout)


def wipe(group: Any) -> None:
    group["bias:0"][3] = np.nan


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (link(h5py.ExternalLink("/tmp/other.h5", "/x")), "the bias of 'lstm' is missing from it"),
        (link(h5py.SoftLink("/model_weights")), "the bias of 'lstm' is missing from it"),
        (outside, "the bias of 'lstm' is compressed, or not in the file itself"),
        (virtual, "the bias of 'lstm' is compressed, or not in the file itself"),
        (replace(compression="gzip"), "the bias of 'lstm' is compressed"),
        (replace(data=None, shape=(48,), dtype=np.float32), "or not in the file itself"),
        (replace(data=np.zeros(48, int)), "the bias of 'lstm' holds int64"),
        (replace(data=np.zeros(48, complex)), "the bias of 'lstm' holds complex128"),
        (replace(data=np.zeros(47)), "the bias of 'lstm' has shape 47, not 48"),
        (replace(data=0.0), "the bias of 'lstm' has shape none, not 48"),
        (lambda group: group.__delitem__("bias:0"), "the bias of 'lstm' is missing from it"),
        (wipe, "the bias of 'lstm' is not finite"),
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


def test_an_archive_lacking_a_file(tmp_path: Path) -> None:
    for key, name in (("config", "config.json"), ("weights", "model.weights.h5")):
        message = refusal(archive(tmp_path / "a.keras", **{key: None}))
        assert f"a zip archive without {name}: not a .keras file" in message


def test_archives_that_would_fill_the_memory(tmp_path: Path) -> None:
    message = refusal(archive(tmp_path / "a.keras", weights=bytes(1 << 24)))
    assert "its model.weights.h5 would unpack to 16,777,216 bytes: too large" in message
    message = refusal(archive(tmp_path / "a.keras", config=b" " * ((1 << 24) + 1)))
    assert "its config.json would unpack to 16,777,217 bytes: too large" in message


@pytest.mark.parametrize("config", [b"", b"{", b"[]", b"\xff", b"[" * 200_000, b'"text"'])
def test_an_archive_whose_configuration_is_none(config: bytes, tmp_path: Path) -> None:
    assert "damaged, or not a whole" in refusal(archive(tmp_path / "a.keras", config=config))


def test_an_archive_whose_weights_are_no_hdf5(tmp_path: Path) -> None:
    assert "damaged, or not a whole" in refusal(archive(tmp_path / "a.keras", weights=b"text"))


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.keras")
    assert "not an ordinary file" in refusal(tmp_path / "pipe.keras")


def test_a_file_larger_than_any_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_file, "MAX_BYTES", 1000)
    assert "too large for such a model" in refusal(HERE / "notebook-3.h5")


def test_the_content_and_not_the_name_says_which_format_it_is(tmp_path: Path) -> None:
    """Early versions wrote HDF5 under either name."""
    shutil.copy(HERE / "stacked-2.h5", tmp_path / "old.keras")
    shutil.copy(HERE / "stacked-2.keras", tmp_path / "new.h5")
    found = [read_keras(tmp_path / name) for name in ("old.keras", "new.h5")]
    assert np.array_equal(found[0].head, found[1].head)


@pytest.mark.parametrize("name", ["notebook-2.h5", "notebook-3.keras"])
def test_damage_anywhere_is_one_line_or_does_no_harm(name: str, tmp_path: Path) -> None:
    whole = (HERE / name).read_bytes()
    wanted = read_keras(HERE / name).architecture
    draw = np.random.default_rng(5)
    path = tmp_path / name
    for _ in range(150):
        damaged = bytearray(whole)
        for place in draw.integers(len(whole), size=draw.integers(1, 40)):
            damaged[place] = draw.integers(256)
        path.write_bytes(damaged if draw.random() < 0.7 else damaged[: draw.integers(len(whole))])
        with contextlib.suppress(ModelFileError):  # anything else fails the test
            found = read_keras(path)
            assert found.head.shape == (wanted.hidden, wanted.vocabulary)


def test_reading_changes_no_file() -> None:
    before = (HERE / "notebook-3.h5").read_bytes()
    read_keras(HERE / "notebook-3.h5")
    assert (HERE / "notebook-3.h5").read_bytes() == before
    assert h5py.File(io.BytesIO(before), "r").attrs["keras_version"].startswith("3")
