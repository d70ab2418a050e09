"""Which model is used where none is named."""

from pathlib import Path

from charlm.data.errors import ModelFileError

LOCAL = Path("model.onnx")
SHIPPED = Path(__file__).parent / "models" / "lovecraft.onnx"


def shipped_model() -> Path:
    """The model that comes with the package: LSTM-192 on the stories of H. P. Lovecraft.

    Raises:
        ModelFileError: the installation is incomplete.
    """
    if not SHIPPED.is_file():
        raise ModelFileError("the model that ships with charlm is missing: reinstall charlm")
    return SHIPPED


def default_model() -> Path:
    """`./model.onnx` if there is one, else the model that ships."""
    return LOCAL if LOCAL.is_file() else shipped_model()


def describe(path: Path) -> str:
    """How to speak of a model file to its user."""
    return "the Lovecraft model that ships with charlm" if path == SHIPPED else str(path)
