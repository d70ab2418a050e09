"""Sampling version 1 as nodes: from logits and u to a token id (see `infer/sampler.py`).

The smallest k with C_k >= u is found without a search: u - C is positive before k and at most 0
from k on, so its positive part has its first smallest entry at k.
"""

from collections.abc import Mapping

import numpy as np

from charlm.export.contract_siblings import INVERSE_TEMPERATURE, MIN_P, TOP_K, TOP_P
from charlm.export.graph import FLOAT, INT64, Draft

Settings = Mapping[str, str]
# Up to this vocabulary the sums come from a product with a triangle of ones, one node that also
# subtracts u; past it the triangle is larger than the model.
TRIANGLE = 256


def draw(draft: Draft, logits: str, uniform: str, settings: Settings, characters: int) -> str:
    """Token ids int64 [batch] for `logits` [batch, characters].

    Args:
        draft: where the nodes go.
        logits: float32 [batch, characters].
        uniform: u, float32 [batch, 1].
        settings: names of the settings of each stream, [batch, 1], by their names in the contract.
        characters: size of the vocabulary.
    """
    shares = _shares(draft, logits, settings)
    return _invert(draft, shares, uniform, characters)


def draw_filtered(
    draft: Draft, logits: str, uniform: str, settings: Settings, characters: int
) -> str:
    """As `draw`, after top-k (as `first_ranks`), top-p and min-p.

    All three keep the first so many characters in descending order, so they are applied there, and
    what they leave is put back into the order of the vocabulary.
    """
    add, local = draft.add, draft.local
    shares = _shares(draft, logits, settings)
    every = draft.array("every", np.array([characters], dtype=np.int64))
    ordered, order = draft.add_many(
        "TopK", [shares, every], [local("ordered"), local("order")], axis=1, largest=1, sorted=1
    )
    left = add("Mul", [ordered, settings[TOP_K]], local("left"))
    before = add("CumSum", [left, draft.array("axis", np.array(1))], local("before"), exclusive=1)
    total = add("ReduceSum", [left, draft.axes(1)], local("total"), keepdims=1)
    in_p = add(
        "Less", [before, add("Mul", [total, settings[TOP_P]], local("reach"))], local("in_p")
    )
    best = add("ReduceMax", [left], local("best"), axes=[1], keepdims=1)
    least = add("Mul", [best, settings[MIN_P]], local("least"))
    in_min = add("GreaterOrEqual", [left, least], local("in_min"))
    none = draft.array("none", np.float32(0))
    kept = add("Where", [add("And", [in_p, in_min], local("both")), left, none], local("kept"))
    back = add("ScatterElements", [shares, order, kept], local("filtered"), axis=1)
    return _count(draft, back, uniform, characters)


def first_ranks(draft: Draft, top_k: str, characters: int) -> str:
    """Ones for the first k ranks and zeros after them, [batch, characters], from k [batch, 1].

    It stays the same in every step, so it is made outside the loop.
    """
    rank = draft.array("rank", np.arange(characters, dtype=np.int64)[None])
    inside = draft.add("Less", [rank, top_k], "in_top_k")
    return draft.add("Cast", [inside], "top_ranks", to=FLOAT)


def draw_by_count(
    draft: Draft, logits: str, uniform: str, settings: Settings, characters: int
) -> str:
    """As `draw`, by counting the sums below u: for devices whose ArgMin may take any of equals."""
    return _count(draft, _shares(draft, logits, settings), uniform, characters)


def _shares(draft: Draft, logits: str, settings: Settings) -> str:
    """Probabilities [batch, characters] at the temperature."""
    tempered = draft.add("Mul", [logits, settings[INVERSE_TEMPERATURE]], draft.local("tempered"))
    return draft.add("Softmax", [tempered], draft.local("shares"), axis=-1)


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


def _count(draft: Draft, shares: str, uniform: str, characters: int) -> str:
    """How many cumulative shares are below u of their last: the same k, int64 [batch]."""
    add, local = draft.add, draft.local
    sums = add("CumSum", [shares, draft.array("axis", np.array(1))], local("sums"))
    end = [draft.array(name, np.array([at])) for name, at in (("last", -1), ("end", characters))]
    last = add("Slice", [sums, *end, draft.axes(1)], local("last_sum"))
    bound = add("Mul", [uniform, last], local("bound"))
    below = add("Cast", [add("Less", [sums, bound], local("below"))], local("ones"), to=FLOAT)
    count = add("ReduceSum", [below, draft.axes(1)], local("count"), keepdims=0)
    return add("Cast", [count], local("token"), to=INT64)
