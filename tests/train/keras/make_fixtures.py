"""Makes the Keras files beside this script and what Keras itself predicts, for `test_import.py`.

Run it with TensorFlow and tf_keras (Keras 2) installed, somewhere outside of the project's own
environment, which needs neither:

    pip install tensorflow-cpu tf_keras h5py
    python tests/train/keras/make_fixtures.py
"""

import json
import os
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tf_keras

HERE = Path(__file__).parent
TEXT = HERE.parents[2] / "data" / "sample.txt"
CHARACTERS = 3_000
WINDOW, HIDDEN, WINDOWS = 40, 12, 16


def notebook(k: Any, size: int) -> Any:
    """The notebook's own."""
    return k.Sequential(
        [
            k.layers.InputLayer(**shape_of(k, size)),
            k.layers.LSTM(HIDDEN),
            k.layers.Dense(size, activation="softmax"),
        ]
    )


def stacked(k: Any, size: int) -> Any:
    """Two layers with names of their own, dropout between them, the softmax a layer."""
    return k.Sequential(
        [
            k.layers.InputLayer(**shape_of(k, size)),
            k.layers.LSTM(HIDDEN, return_sequences=True, name="bottom", dropout=0.1),
            k.layers.Dropout(0.2),
            k.layers.LSTM(HIDDEN, name="top"),
            k.layers.Dropout(0.2),
            k.layers.Dense(size, name="logits"),
            k.layers.Activation("softmax"),
        ]
    )


def shape_of(k: Any, size: int) -> dict[str, Any]:
    key = "batch_input_shape" if k is tf_keras else "batch_shape"
    return {key: (None, WINDOW, size)}


def train(k: Any, model: Any, windows: Any, targets: Any) -> None:
    """A few steps at a high rate, so that no weight stays where it was drawn; then biases moved,
    or all four gates' would be alike.
    """
    model.compile(loss="categorical_crossentropy", optimizer=k.optimizers.Adam(0.02))
    model.fit(windows, targets, batch_size=64, epochs=2, verbose=0, shuffle=False)
    draw = np.random.default_rng(7)
    model.set_weights(
        [w + draw.normal(0, 0.3, w.shape).astype(w.dtype) for w in model.get_weights()]
    )


def main() -> None:
    text = TEXT.read_text(encoding="utf-8")[:CHARACTERS].lower().replace("\n", "")
    characters = sorted(set(text))
    ids = np.array([characters.index(character) for character in text])
    starts = np.arange(0, len(ids) - WINDOW, 3)
    one_hot = np.eye(len(characters), dtype=np.float32)
    windows = one_hot[ids[starts[:, None] + np.arange(WINDOW)]]
    targets = one_hot[ids[starts + WINDOW]]
    golden: dict[str, Any] = {
        "characters": "".join(characters),
        "windows": [text[start : start + WINDOW] for start in starts[:WINDOWS].tolist()],
    }
    (HERE / "corpus.txt").write_text(TEXT.read_text(encoding="utf-8")[:CHARACTERS], "utf-8")
    for number, k in ((2, tf_keras), (3, keras)):
        for build in (notebook, stacked):
            k.utils.set_random_seed(1)
            model = build(k, len(characters))
            train(k, model, windows, targets)
            predicted = model.predict(windows[:WINDOWS], verbose=0)
            k.backend.clear_session()  # or the names go on counting
            plain = build(k, len(characters))  # without the optimiser's arrays: small files
            plain.set_weights(model.get_weights())
            for suffix in ("keras", "h5"):
                name = f"{build.__name__}-{number}.{suffix}"
                plain.save(HERE / name)
                golden[name] = predicted.astype(float).round(9).tolist()
    (HERE / "golden.json").write_text(json.dumps(golden), "utf-8")


if __name__ == "__main__":
    main()
