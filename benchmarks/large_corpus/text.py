"""A text of any size: paragraphs of the corpus that ships, in a random order."""

import random
from pathlib import Path

from charlm.data.corpus import SAMPLE


def write(path: Path, size: int, seed: int = 0) -> None:
    """Write at least `size` bytes of UTF-8, and less than a paragraph more."""
    rng = random.Random(seed)
    paragraphs = [each + b"\n" for each in SAMPLE.read_bytes().split(b"\n") if each]
    with path.open("wb") as file:
        while (left := size - file.tell()) > 0:
            block = b"".join(rng.choices(paragraphs, k=64))
            file.write(block if left > len(block) else _cut(block, left))


def _cut(block: bytes, size: int) -> bytes:
    return block[: block.index(b"\n", size - 1) + 1]
