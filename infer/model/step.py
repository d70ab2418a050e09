"""The bare model: one step, state in and state out."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import ModelFileError
from charlm.export import contract
from charlm.export.contract import Metadata
from charlm.infer.model.open import Model, open_model
from charlm.infer.model.shipped import find_model

Array = npt.NDArray[np.float32]
State = tuple[Array, Array]
OUTPUTS = [contract.LOGITS, contract.H_NEXT, contract.C_NEXT]


class Step:
    """A model as a function: `logits, state = step(token, state)`.

    Attributes:
        metadata: vocabulary, sizes and all else that the file says of itself.
    """

    def __init__(self, model: Model) -> None:
        self.metadata: Metadata = model.metadata
        self._session = model.session

    def zero_state(self, batch: int = 1) -> State:
        """The state that starts a text: h and c, zeros, float32 [batch, layers, hidden]."""
        shape = (batch, self.metadata.layers, self.metadata.hidden)
        return np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)

    def __call__(self, token: npt.ArrayLike, state: State) -> tuple[Array, State]:
        """Read a character of each text.

        Args:
            token: ids, integers of shape [batch].
            state: (h, c) before it, each float32 [batch, layers, hidden].

        Returns:
            Logits of the character that follows, float32 [batch, vocabulary], and the state after.

        Raises:
            ModelFileError: the graph can't be run, for example since it lacks a character.
        """
        h, c = state
        given = {contract.TOKEN: np.asarray(token, dtype=np.int64), contract.H: h, contract.C: c}
        with contract.runtime_errors_as(ModelFileError, "ONNX Runtime can't run the model"):
            logits, h, c = self._session.run(OUTPUTS, given)
        return logits, (h, c)


def load_step(path: str | Path | None = None, threads: int | None = None) -> Step:
    """Open a model file for stepping; None opens `./model.onnx`, or else the model that ships.

    ```python
    step = load_step()
    state = step.zero_state()
    for token in step.metadata.vocabulary.encode("the old house"):
        logits, state = step([token], state)
    ```

    Args:
        path: the `.onnx` file.
        threads: CPU threads; None chooses by the size of the weights.

    Raises:
        ModelFileError, MissingExtraError, SettingsError: see `open_model`.
    """
    return Step(open_model(find_model(None if path is None else Path(path)), "cpu", threads))
