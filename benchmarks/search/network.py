"""The models of the search: the product's, and with embedding, tying, layer norm and dropout."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from charlm.benchmarks.search.variant import Variant
from charlm.train.config import ModelConfig
from charlm.train.model import CharLSTM, State, lstm


class Network(CharLSTM):
    """`CharLSTM` with what a variant adds to it; judged by the same code."""

    lstm: nn.LSTM
    gate_norm: nn.LayerNorm
    cell_norm: nn.LayerNorm

    def __init__(self, variant: Variant, vocabulary: int) -> None:
        super().__init__(
            ModelConfig(
                vocabulary, variant.hidden, variant.layers, output_dropout=variant.drop_head
            )
        )
        self.variant = variant
        features, hidden = variant.embedding, variant.hidden
        if features:
            self.embedding = nn.Parameter(torch.empty(vocabulary, features))
            self.lstm = nn.LSTM(features, hidden, variant.layers)
            if variant.tied:
                self.head = _Tied(self.embedding, hidden)  # type: ignore[assignment]
        if variant.norm == "output":
            self.head = nn.Sequential(nn.LayerNorm(hidden), self.head)  # type: ignore[assignment]
        if variant.norm == "cell":
            self.gate_norm, self.cell_norm = nn.LayerNorm(4 * hidden), nn.LayerNorm(hidden)

    def initialise(self, generator: torch.Generator) -> None:
        """As the product's, with the variant's forget bias and a normal embedding."""
        hidden = self.variant.hidden
        for name, parameter in self.named_parameters():
            if "norm" in name or (name.startswith("head.0") and self.variant.norm == "output"):
                continue
            if name.endswith("embedding"):
                nn.init.normal_(parameter.data, std=0.1, generator=generator)
            elif "weight_hh" in name:
                nn.init.orthogonal_(parameter.data, generator=generator)
            elif "weight" in name:
                nn.init.xavier_uniform_(parameter.data, generator=generator)
            else:
                nn.init.zeros_(parameter.data)
                if "bias_ih" in name:
                    parameter.data[hidden : 2 * hidden] = self.variant.forget_bias

    def zero_state(self, batch: int) -> State:
        """Zeros, each [layers, batch, hidden]."""
        weight = self._of("weight_hh", 0)
        shape = (self.variant.layers, batch, self.variant.hidden)
        return weight.new_zeros(shape), weight.new_zeros(shape)

    def forward(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """As the product's; dropout only while training."""
        features = self._features(tokens)
        if self.variant.norm == "cell":
            hidden, state = self._normed(features, state)
        else:
            hidden, state = self._lstm(features, state)
        return self._drop_outputs(hidden), state

    def _features(self, tokens: Tensor) -> Tensor:
        if self.variant.embedding:
            features = self.embedding[tokens]
        elif self._indexed():
            features = functional.embedding(tokens, self._of("weight_ih", 0).t())
        else:
            shape = (*tokens.shape, self.config.vocabulary)
            features = (
                self._of("weight_hh", 0).new_zeros(shape).scatter_(2, tokens.unsqueeze(2), 1.0)
            )
        rate = self.variant.drop_input
        if self.training and rate:
            features = features * functional.dropout(torch.ones(*tokens.shape, 1), rate)
        return features

    def _lstm(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        weights: dict[str, Tensor] = dict(self.lstm.named_parameters())
        if self._indexed():  # the features are gates already
            weights["weight_ih_l0"] = torch.eye(features.shape[2])
        rate = self.variant.drop_recurrent
        if self.training and rate:
            for name in weights:
                if "weight_hh" in name:
                    weights[name] = functional.dropout(weights[name], rate)
        hidden, h, c = lstm(features, state, list(weights.values()), self.training)
        return hidden, (h, c)

    def _indexed(self) -> bool:
        """Whether the input is indexed, as the product's is where that is faster."""
        plain = not self.variant.embedding and self.variant.norm != "cell"
        return plain and self.config.vocabulary > 4 * self.variant.hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """As the product's, of whatever head there is."""
        if self.variant.drop_head:
            return super().logits(hidden)
        logits: Tensor = self.head(hidden)
        return logits

    def _drop_outputs(self, hidden: Tensor) -> Tensor:
        if self.training and self.variant.drop_output:
            hidden = functional.dropout(hidden, self.variant.drop_output)
        if self.training and self.variant.drop_locked:
            mask = functional.dropout(torch.ones(1, *hidden.shape[1:]), self.variant.drop_locked)
            hidden = hidden * mask
        return hidden

    def _normed(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Ba et al., 2016: norms of the gates' inputs and of the cell, one layer, step by step."""
        inputs = functional.linear(features, self._of("weight_ih", 0), self._of("bias_ih", 0))
        recurrent, bias = self._of("weight_hh", 0).t(), self._of("bias_hh", 0)
        h, c = state[0][0], state[1][0]
        outputs = []
        for step in inputs:
            gates = self.gate_norm(torch.addmm(step, h, recurrent)) + bias
            i, f, g, o = gates.chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * self.cell_norm(c).tanh()
            outputs.append(h)
        return torch.stack(outputs), (h[None], c[None])


class _Tied(nn.Module):
    """Logits by the embedding's own matrix (Press and Wolf, 2017), behind a projection."""

    def __init__(self, embedding: nn.Parameter, hidden: int) -> None:
        super().__init__()
        self.projection = nn.Linear(hidden, embedding.shape[1])
        self.matrix = embedding
        self.bias = nn.Parameter(torch.zeros(embedding.shape[0]))

    def forward(self, hidden: Tensor) -> Tensor:
        return functional.linear(self.projection(hidden), self.matrix, self.bias)
