"""Options that the commands of this folder share, as annotated types."""

from pathlib import Path
from typing import Annotated

import typer

ModelFile = Annotated[
    Path | None,
    typer.Option(
        help="Model file, or lovecraft or lovecraft-large, which ship.",
        show_default="./model.onnx, else lovecraft",
    ),
]
Provider = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Threads = Annotated[
    int | None,
    typer.Option(help="CPU threads.", show_default="one a core for many texts, else one"),
]
Unknown = Annotated[
    str | None,
    typer.Option(
        help="Characters the model lacks: error, drop, or one to put there.",
        show_default="as with rare ones of its corpus, else error",
    ),
]
Precision = Annotated[
    str, typer.Option(help="float32; int8 on the CPU or fp16 on CUDA: faster, other texts.")
]
