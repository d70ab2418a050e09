"""Compressors as a baseline: alone, and after the training text."""

import bz2

import pytest

from charlm.train.report.compressors import COMPRESSORS, compress

LEARNT = "".join(f"the {n * n} lamps went out one by one; " for n in range(400))


def test_what_came_before_helps() -> None:
    held_out = "the 144 lamps went out one by one; é" * 3
    found = {each.name: each for each in compress(LEARNT, held_out)}
    assert list(found) == list(COMPRESSORS)
    assert found["gzip -9"].after < found["gzip -9"].alone
    assert found["xz -9e"].after < found["xz -9e"].alone
    assert found["bz2 -9"].alone == pytest.approx(
        8 * len(bz2.compress(held_out.encode(), 9)) / len(held_out)
    )
