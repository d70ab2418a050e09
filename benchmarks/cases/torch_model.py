"""The Torch model that the Torch cases run."""

from typing import TYPE_CHECKING

from charlm.benchmarks.cases.common import Arrays
from charlm.benchmarks.settings import CaseSettings
from charlm.data.extras import require

if TYPE_CHECKING:
    from charlm.train.model import CharLSTM


def torch_model(arrays: Arrays, settings: CaseSettings) -> "CharLSTM":
    """A `CharLSTM` of these weights, on the CPU, for inference.

    Raises:
        MissingExtraError: Torch is not installed.
    """
    torch = require("torch", "train")
    from charlm.train.config import ModelConfig
    from charlm.train.model import CharLSTM

    torch.set_num_threads(settings.threads)
    vocabulary, hidden = arrays["head.weight"].shape
    layers = sum(name.startswith("lstm.weight_hh") for name in arrays)
    model = CharLSTM(ModelConfig(vocabulary, hidden, layers))
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return model.eval()
