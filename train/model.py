"""The model: one-hot characters in, stacked LSTM, one linear layer out."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from charlm.train.config import ModelConfig

State = tuple[Tensor, Tensor]
"""Hidden and cell state (h, c), each float32 of shape [layers, batch, hidden]."""


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The shape of each of a model's weights, by name; takes no memory."""
    with torch.device("meta"):
        return {name: tuple(w.shape) for name, w in CharLSTM(config).state_dict().items()}


class CharLSTM(nn.Module):
    """A character-level language model.

    The parameters bear Torch's names and layout (`lstm.weight_ih_l0` and so on, gates in the
    order i, f, g, o), so that a checkpoint loads into a plain `torch.nn.LSTM`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.lstm = nn.LSTM(config.vocabulary, config.hidden, config.layers)
        self.head = nn.Linear(config.hidden, config.vocabulary)
        self.run_lstm = lstm  # `step` replaces it where the rest is compiled

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights as Keras does, so that both recipes start where the notebook did.

        Glorot for input weights, orthogonal for recurrent ones, a forget bias of one
        (Jozefowicz et al., 2015), zero for every other bias.
        """
        hidden = self.config.hidden
        for name, parameter in self.named_parameters():
            if "weight_hh" in name:
                nn.init.orthogonal_(parameter.data, generator=generator)
            elif "weight" in name:
                nn.init.xavier_uniform_(parameter.data, generator=generator)
            else:
                nn.init.zeros_(parameter.data)
                if "bias_ih" in name:
                    parameter.data[hidden : 2 * hidden] = 1.0

    def hidden_to_hidden(self) -> list[nn.Parameter]:
        """The matrices from hidden units to gates: all recurrent ones, and between layers."""
        return [self.lstm.get_parameter(name) for name in self._between_units()]

    def zero_state(self, batch: int) -> State:
        """The state that starts a text: zeros, each [layers, batch, hidden]."""
        weight = self.head.weight
        shape = (self.config.layers, batch, self.config.hidden)
        return weight.new_zeros(shape), weight.new_zeros(shape)

    def forward(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Run over windows of text.

        In training, `dropout` of the weights between hidden units are zero, others at each call
        (Wan et al., 2013; of an LSTM, Merity et al., 2017).

        Args:
            tokens: ids, int64 of shape [time, batch].
            state: (h, c) before the first character.

        Returns:
            The last layer's hidden states, float32 of shape [time, batch, hidden] (`logits` has
            what they predict), and the state after the last character.
        """
        weights = dict(self.lstm.named_parameters()) | self._dropped()
        gates = 4 * self.config.hidden
        if self.config.vocabulary > gates:
            # A one-hot row times the input weights is one column of them: index, and leave the
            # fused kernel a product with the identity, which no number of characters makes larger.
            table = weights["weight_ih_l0"].t()
            weights["weight_ih_l0"] = torch.eye(gates, dtype=table.dtype, device=table.device)
            read = functional.embedding(tokens, table)
        else:
            # Torch's fused kernels (oneDNN, cuDNN) run all steps of a layer in one call but take
            # only a dense input. This matrix takes 15 % of a window's time
            # (`benchmarks/NOTES.md`); a loop over single steps that indexes the weights, as `step`
            # does, with a hand-written backward pass takes 1.3 times as long as the fused one.
            shape = (*tokens.shape, self.config.vocabulary)
            read = self.head.weight.new_zeros(shape).scatter_(2, tokens.unsqueeze(2), 1.0)
        hidden, h, c = self.run_lstm(read, state, list(weights.values()), self.training)
        return hidden, (h, c)

    def logits(self, hidden: Tensor) -> Tensor:
        """What hidden states predict.

        In training, `output_dropout` of the head's weights are zero, others at each call. To the
        streams of several processes it is the same; and as good as a mask of the hidden states
        (`docs/EXPERIMENTS.md`).

        Args:
            hidden: float32 of shape [..., hidden].

        Returns:
            Logits, float32 of shape [..., vocabulary].
        """
        weight, rate = self.head.weight, self.config.output_dropout
        if self.training and rate:
            weight = functional.dropout(weight, rate)
        return functional.linear(hidden, weight, self.head.bias)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """Run one character, without dropout.

        Args:
            token: ids, int64 of shape [batch].
            state: (h, c) before the character.

        Returns:
            Logits, float32 of shape [batch, vocabulary], and the state after the character.
        """
        # Here too: index, don't multiply.
        gates = self._of("weight_ih", 0).t()[token] + self._of("bias_ih", 0)
        h_next: list[Tensor] = []
        c_next: list[Tensor] = []
        for layer, (h, c) in enumerate(zip(*state, strict=True)):
            if layer:
                gates = functional.linear(
                    h_next[-1], self._of("weight_ih", layer), self._of("bias_ih", layer)
                )
            gates = gates + functional.linear(
                h, self._of("weight_hh", layer), self._of("bias_hh", layer)
            )
            i, f, g, o = gates.chunk(4, dim=1)
            c_next.append(f.sigmoid() * c + i.sigmoid() * g.tanh())
            h_next.append(o.sigmoid() * c_next[-1].tanh())
        logits: Tensor = self.head(h_next[-1])
        return logits, (torch.stack(h_next), torch.stack(c_next))

    def _between_units(self) -> list[str]:
        names = ["weight_hh_l0"]
        for layer in range(1, self.config.layers):
            names += [f"weight_ih_l{layer}", f"weight_hh_l{layer}"]
        return names

    def _dropped(self) -> dict[str, Tensor]:
        rate = self.config.dropout
        if not self.training or rate == 0:
            return {}
        names = self._between_units()
        return {name: functional.dropout(self.lstm.get_parameter(name), rate) for name in names}

    def _of(self, kind: str, layer: int) -> Tensor:
        parameter = getattr(self.lstm, f"{kind}_l{layer}")
        assert isinstance(parameter, Tensor)
        return parameter


def lstm(
    read: Tensor, state: State, weights: list[Tensor], training: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """What `nn.LSTM.forward` calls, with weights that need not be a module's parameters.

    To replace a module's own for a call, on a GPU, moves its other parameters to new memory, which
    a recorded CUDA graph never sees.

    Args:
        read: what the first layer reads, float32 of shape [time, batch, features].
        state: (h, c) before the first step.
        weights: of all layers, in the order of `nn.LSTM`'s parameters.
        training: keep what the backward pass needs.

    Returns:
        The last layer's hidden states, [time, batch, hidden]; h and c after the last step.
    """
    hidden, h, c = torch.lstm(
        read,
        state,
        weights,
        has_biases=True,
        num_layers=len(weights) // 4,
        dropout=0.0,
        train=training,
        bidirectional=False,
        batch_first=False,
    )
    return hidden, h, c
