"""Models of other sizes with random weights: as fast as trained ones, and as good as noise."""

from pathlib import Path

from charlm.export.contract import Metadata


def write(hidden: int, like: Metadata, path: Path) -> None:
    """Write a one-layer model with `hidden` units, and its generate graph beside it.

    Args:
        hidden: units.
        like: metadata of another model, whose vocabulary and normalisation it takes over.
        path: the model file.

    Raises:
        MissingExtraError: Torch or onnx is not installed.
    """
    from charlm.data.system.extras import require

    torch = require("torch", "train")
    require("onnx", "train")
    from charlm.export import weights
    from charlm.export.contract import GENERATE, sibling_path
    from charlm.export.graphs import generate_graph, step_graph
    from charlm.train.config import ModelConfig
    from charlm.train.model import CharLSTM

    model = CharLSTM(ModelConfig(len(like.vocabulary), hidden))
    model.initialise(torch.Generator().manual_seed(hidden))
    laid_out = weights.from_torch(model)
    metadata = Metadata(
        hidden=hidden,
        layers=1,
        vocabulary=like.vocabulary,
        normalisation=like.normalisation,
        initial=like.initial,
        weights_sha256=weights.sha256(laid_out),
    )
    path.write_bytes(step_graph.build(laid_out, metadata))
    generate = generate_graph.build(laid_out, metadata)
    sibling_path(path, GENERATE).write_bytes(generate)
