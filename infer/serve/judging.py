"""Log-probabilities of a text's characters, and the likeliest beside them, in OpenAI's form."""

from collections.abc import Callable
from typing import Any

import numpy as np

from charlm.infer.engines.base import Tokens, run_length
from charlm.infer.engines.planning import open_predictor
from charlm.infer.generator import Generator
from charlm.infer.model.state import State

LEAST = np.float32(-9999)  # OpenAI's, of what can't be: JSON has no infinity


class LogprobReader:
    """Reads a text that arrives in pieces, and judges each character in float32.

    Args:
        generator: of the model.
        before: where the text begins.
        likeliest: how many are named beside each character.
        offset: of the first character in what the client has of the text.
        wanted: says whether the client is still there; if not, nothing more is judged.
        begun: give a place before all characters, from which the first of all follows: by its
            frequency in the training text.
    """

    def __init__(
        self,
        generator: Generator,
        before: State,
        likeliest: int,
        offset: int,
        wanted: Callable[[], bool],
        begun: bool = False,
    ) -> None:
        self._wanted = wanted
        self._model, self._vocabulary = generator.model, generator.vocabulary
        self._predictor, self._likeliest = open_predictor(generator.model), likeliest
        self._h, self._c = before.h[None], before.c[None]
        self._first = np.maximum(before.log_probabilities(), LEAST)[None]  # used once
        self._last: Tokens = np.zeros(0, self._vocabulary.dtype)  # judged, to be read next
        self._known = begun or before.characters > 0  # of the first of all nothing is predicted
        self._offset, self._begun = offset, begun
        self.total, self.judged = 0.0, 0  # of log-probabilities, and characters that have one

    def read(self, text: str) -> dict[str, list[Any]]:
        """The log-probabilities of the next piece, in OpenAI's form."""
        tokens = self._vocabulary.encode(text)
        found: dict[str, list[Any]] = {
            "tokens": list(text), "token_logprobs": [], "top_logprobs": [],
            "text_offset": list(range(self._offset, self._offset + len(text))),
        }  # fmt: skip
        if self._begun:
            place = {"tokens": "", "token_logprobs": None, "top_logprobs": None, "text_offset": 0}
            found = {name: [value, *found[name]] for name, value in place.items()}
            self._begun = False
        self._offset += len(text)
        step = run_length(1, self._model, "cpu")
        for start in range(0, len(tokens), step):
            if not self._wanted():
                break
            self._judge(tokens[start : start + step], found)
        return found

    @property
    def mean(self) -> float:
        """Of the log-probabilities so far; below all others where there is none."""
        return self.total / self.judged if self.judged else float("-inf")

    def _judge(self, tokens: Tokens, found: dict[str, list[Any]]) -> None:
        unread = np.concatenate((self._last, tokens))[None]
        after, self._h, self._c = self._predictor.predict(unread, self._h, self._c)
        expected = np.concatenate((self._first, after[0]))
        self._first, self._last = self._first[:0], tokens[-1:]
        order = np.argsort(-expected, axis=1, kind="stable")[:, : self._likeliest]
        named = np.concatenate((order, tokens[:, None].astype(order.dtype)), axis=1)
        shares = np.take_along_axis(expected, named, axis=1)
        characters = self._vocabulary.characters
        for ids, row in zip(named.tolist(), shares.tolist(), strict=True):
            own = top = None
            if self._known:
                own, top = row[-1], dict(zip((characters[id_] for id_ in ids), row, strict=True))
                self.total, self.judged = self.total + own, self.judged + 1
            found["token_logprobs"].append(own)
            found["top_logprobs"].append(top)
            self._known = True
