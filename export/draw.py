"""Sampling version 1 as nodes: from logits and u to a token id (see `infer/sampler.py`).

The smallest k with C_k >= u is found without a search: u - C is positive before k and at most 0
from k on, so its positive part has its first smallest entry at k.
"""

import numpy as np

from charlm.export.graph import Draft

# Up to this vocabulary the sums come from a product with a triangle of ones, one node that also
# subtracts u; past it the triangle is larger than the model.
TRIANGLE = 256


def draw(draft: Draft, logits: str, uniform: str, rate: str, characters: int) -> str:
    """Token ids int64 [batch] for `logits` [batch, characters].

    Args:
        draft: where the nodes go.
        logits: float32 [batch, characters].
        uniform: u, float32 [batch, 1].
        rate: 1/T of each stream, float32 [batch, 1].
        characters: size of the vocabulary.
    """
    tempered = draft.add("Mul", [logits, rate], draft.local("tempered"))
    shares = draft.add("Softmax", [tempered], draft.local("shares"), axis=-1)
    return _invert(draft, shares, uniform, characters)


def _invert(draft: Draft, shares: str, bound: str, characters: int) -> str:
    """The smallest k whose cumulative share reaches `bound` [batch, 1], int64 [batch]."""
    if characters <= TRIANGLE:
        minus = draft.array("minus_triangle", -np.triu(np.ones((characters,) * 2, np.float32)))
        missing = draft.add("Gemm", [shares, minus, bound], draft.local("missing"))
    else:
        axis = draft.array("axis", np.array(1))
        sums = draft.add("CumSum", [shares, axis], draft.local("sums"))
        missing = draft.add("Sub", [bound, sums], draft.local("missing"))
    positive = draft.add("Relu", [missing], draft.local("short"))
    return draft.add("ArgMin", [positive], draft.local("token"), axis=1, keepdims=0)
