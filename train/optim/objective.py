"""What a step minimises: the model and its loss as one module, which can be replicated."""

from torch import Tensor, nn
from torch.nn import functional

from charlm.train.config import TrainingConfig
from charlm.train.model import CharLSTM, State
from charlm.train.optim.precision import autocast


class Objective(nn.Module):
    """Mean cross-entropy of a batch, in nats a character.

    Args:
        model: what is trained; shared, not copied.
        config: the recipe, and the precision of the products.
    """

    def __init__(self, model: CharLSTM, config: TrainingConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(self, tokens: Tensor, targets: Tensor, state: State) -> tuple[Tensor, State]:
        """Read a window and compare what it predicts.

        Args:
            tokens: ids, int64 of shape [time, batch].
            targets: ids, int64: [time, batch], or [batch] in the notebook's recipe, which
                predicts only the character after the window.
            state: (h, c) before the first character.

        Returns:
            The loss, a float32 scalar, and the state after the last character.
        """
        with autocast(self.config):
            hidden, state = self.model(tokens, state)
            logits = self.model.logits(hidden if targets.dim() == 2 else hidden[-1])
        return functional.cross_entropy(logits.float().flatten(0, -2), targets.flatten()), state
