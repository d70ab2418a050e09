"""What general compressors make of a text, in bits per character."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Compressed:
    """Bits per character of one compressor.

    Attributes:
        name: with its setting.
        alone: of the held-out text by itself.
        after: what the held-out text adds to the compressed training text. How far back a
            compressor sees limits what it can gain: gzip 32 KB, bz2 a block of 900 KB.
    """

    name: str
    alone: float
    after: float


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip -9": lambda data: gzip.compress(data, 9, mtime=0),
    "bz2 -9": lambda data: bz2.compress(data, 9),
    "xz -9e": lambda data: lzma.compress(data, filters=[_lzma(len(data))]),
}


def _lzma(size: int) -> dict[str, int]:
    """As `xz -9e`, with no larger a dictionary than the text fills: that one takes 700 MB."""
    extreme = 9 | lzma.PRESET_EXTREME
    largest = min(64 << 20, max(4096, size))
    return {"id": lzma.FILTER_LZMA2, "preset": extreme, "dict_size": largest}


def compress(learnt: str, held_out: str) -> list[Compressed]:
    """Compress a text in UTF-8, by itself and after another one.

    Args:
        learnt: what comes before.
        held_out: the text whose characters are counted.
    """
    before, text = learnt.encode(), held_out.encode()
    return [
        Compressed(
            name,
            8 * len(run(text)) / len(held_out),
            8 * (len(run(before + text)) - len(run(before))) / len(held_out),
        )
        for name, run in COMPRESSORS.items()
    ]
