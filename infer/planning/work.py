"""What is asked for, and whether a GPU is worth starting for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# On an H200 16 texts were drawn at 1.1 million characters/s, and 2,112 at 158 million; its 16 cores
# draw 64 texts at ten million. Starting the device, and copies, take about half a second.
WORTH_CUDA_STREAMS, WORTH_CUDA_CHARACTERS = 512, 10_000_000
SMALL_FILE = 1 << 20  # bytes: a longer file of prompts is work enough for anything
ONLY_ON = {"int8": "cpu", "fp16": "cuda"}  # precisions that one provider has


@dataclass(frozen=True)
class Work:
    """What is asked for, as far as it is known.

    Attributes:
        streams: texts in all; None: any number, as from a file of prompts.
        length: characters of each; 0: without end.
        filters: top-k, top-p or min-p is set for all of them.
        window: characters that each is drawn from, of all texts; None: all before it.
    """

    streams: int | None = 1
    length: int = 200
    filters: bool = False
    window: int | None = None

    @property
    def characters(self) -> float:
        """How many are drawn at most."""
        if self.streams is None or self.length == 0:
            return float("inf")
        return float(self.streams * self.length)


def count_prompts(path: Path) -> int | None:
    """The lines of a file of prompts; None of a long one, of a pipe, and of what can't be read.

    Where it can't be read, whoever reads it will say so.
    """
    try:
        if not path.is_file() or path.stat().st_size > SMALL_FILE:
            return None
        return max(2, len(path.read_bytes().splitlines()))  # several texts, however few
    except OSError:
        return None


def text_work(files: Sequence[Path], parallel: bool) -> Work:
    """Files that are to be scored, as work: a character a byte, several streams in each if cut.

    What is no file, such as a pipe, counts as without end.
    """
    sizes = [path.stat().st_size if path.is_file() else 0 for path in files]
    streams = WORTH_CUDA_STREAMS if parallel else len(files)
    return Work(streams, sum(sizes) // streams if all(sizes) else 0)


def provider_for(
    work: Work | None, wanted: str, precision: str = "float32"
) -> tuple[str, str | None]:
    """The provider to open a model with, and why, where that is not what was asked for.

    `auto` leaves the GPU alone where a job is too small for it, or the precision is the CPU's.

    Args:
        work: what is asked for; None: not known, which leaves `auto` as it is.
        wanted: `auto`, `cpu` or `cuda`.
        precision: of the products.
    """
    if wanted != "auto":
        return wanted, None
    if precision in ONLY_ON:
        return ONLY_ON[precision], f"{ONLY_ON[precision]}, which alone has {precision}"
    if work is None:
        return wanted, None
    if work.window is not None:
        return "cpu", "cpu, where a window is stepped through"
    streams = float("inf") if work.streams is None else work.streams
    if streams >= WORTH_CUDA_STREAMS and work.characters >= WORTH_CUDA_CHARACTERS:
        return "auto", None
    return "cpu", (
        f"cpu, since a GPU pays from {WORTH_CUDA_STREAMS} texts and "
        f"{WORTH_CUDA_CHARACTERS:,} characters on"
    )
