"""The models that ship with charlm, by name, and which one is used where none is named."""

import shlex
from pathlib import Path

from charlm.data.system.errors import ModelFileError

LOCAL = Path("model.onnx")
FOLDER = Path(__file__).parents[1] / "models"
DEFAULT = "lovecraft"
NAMES = (DEFAULT, "lovecraft-large")  # LSTM-192 and LSTM-384 on the stories of H. P. Lovecraft


def shipped_model(name: str = DEFAULT) -> Path:
    """A model that comes with the package.

    Raises:
        ModelFileError: the installation is incomplete.
    """
    path = FOLDER / f"{name}.onnx"
    if not path.is_file():
        raise ModelFileError(
            f"the model {name} that ships with charlm is missing: reinstall charlm"
        )
    return path


def default_model() -> Path:
    """`./model.onnx` if there is one, else the model that ships."""
    return LOCAL if LOCAL.is_file() else shipped_model()


def find_model(named: Path | None) -> Path:
    """The file that a user means: a path, the name of a model that ships, or nothing.

    A file of that name in the current folder comes first; of a folder, the model in it.

    Raises:
        ModelFileError: a folder without a model, or nothing of that name.
    """
    if named is None:
        return default_model()
    if named.is_dir():
        if (named / LOCAL).is_file():
            return named / LOCAL
        raise ModelFileError(
            f"{named} is a folder without {LOCAL}: if it is a run, write it with: "
            f"charlm-export {shlex.quote(str(named / LOCAL))} --run {shlex.quote(str(named))}"
        )
    if named.exists():
        return named
    if str(named) not in NAMES:
        raise ModelFileError(
            f"no model {named}: name a model file, or {' or '.join(NAMES)}, which ship with charlm"
        )
    return shipped_model(str(named))


def describe(path: Path) -> str:
    """How to speak of a model file to its user."""
    if path == FOLDER / f"{DEFAULT}.onnx":
        return "the Lovecraft model that ships with charlm"
    if path in (FOLDER / f"{name}.onnx" for name in NAMES):
        return f"{path.stem}, which ships with charlm"
    return str(path)
