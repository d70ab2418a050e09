import contextlib
from collections.abc import Callable

import numpy as np
import onnx
import pytest

from charlm.data.system.errors import CharlmError, ModelFileError
from charlm.export import weights
from charlm.export.contract import Metadata
from charlm.export.proof import verify
from charlm.export.read_graph import read_graph
from charlm.train.model import CharLSTM

Make = Callable[..., CharLSTM]
Build = Callable[[CharLSTM], bytes]


@pytest.mark.parametrize("layers", [1, 3])
def test_weights_and_metadata_are_read_back(
    make_model: Make, build: Build, metadata_of: Callable[[CharLSTM], Metadata], layers: int
) -> None:
    model = make_model(layers=layers)
    found, metadata = read_graph(build(model), "m.onnx")
    wanted = weights.from_torch(model)
    assert metadata.weights_sha256 == metadata_of(model).weights_sha256
    for name in ("table", "recurrent", "head", "head_bias"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    for name in ("stacked", "stacked_bias"):
        for a, b in zip(getattr(found, name), getattr(wanted, name), strict=True):
            np.testing.assert_array_equal(a, b)


def test_weights_of_another_type_are_refused(make_model: Make, build: Build) -> None:
    model = onnx.load_model_from_string(build(make_model()))
    for tensor in model.graph.initializer:
        if tensor.name == "head":
            tensor.name = "other"
            double = onnx.numpy_helper.from_array(
                onnx.numpy_helper.to_array(tensor).astype(np.float64), "head"
            )
    for node in model.graph.node:
        node.input[:] = ["other" if name == "head" else name for name in node.input]
    model.graph.initializer.append(double)
    with pytest.raises(ModelFileError, match=r"m\.onnx: its weights 'head' are missing or not"):
        read_graph(model.SerializeToString(), "m.onnx")


def test_any_damage_ends_in_one_clear_error(
    make_model: Make, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes turned over, between the weights rather than in them, which would be harmless."""
    monkeypatch.setattr(verify, "STEPS", 2)
    content = build(make_model(hidden=4))
    random = np.random.RandomState(0)
    for place, value in zip(
        random.randint(0, len(content), 400), random.randint(0, 256, 400), strict=True
    ):
        spoilt = bytearray(content)
        spoilt[place] = value
        with contextlib.suppress(CharlmError):
            found, _ = read_graph(bytes(spoilt), "m.onnx")
            verify.prove(bytes(spoilt), weights.to_torch(found))
