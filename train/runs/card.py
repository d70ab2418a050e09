"""The model card of a run: what it was trained on, how, how good it is, and its limits."""

from typing import Any

from charlm.data.text.rare import Rare
from charlm.train.config import ModelConfig, regularisation
from charlm.train.loop.evaluate import JUDGED


def render(name: str, config: dict[str, Any]) -> str:
    """Markdown for the content of `config.json` (see `run_folder.describe`)."""
    model, training = config["model"], config["training"]
    results, corpus = config["results"], config["corpus"]
    normalisation = config["normalisation"]
    vocabulary = "".join(config["vocabulary"]).replace("\n", "⏎").replace("`", "ˋ")
    state = "finished" if results["finished"] else "not finished; resume with charlm-train --resume"
    rare = Rare.from_dict(config["rare"])
    return f"""# {name}

A character-level LSTM language model, trained with charlm {config["versions"]["charlm"]}.

| | |
|---|---|
| model | {model["layers"]} × LSTM({model["hidden"]}), {model["vocabulary"]} characters |
| corpus | {", ".join(corpus["files"])} (sha256 {corpus["sha256"]}) |
| normalisation | case: {normalisation["case"]}, newlines: {normalisation["newlines"]}, \
NFC: {"yes" if normalisation["nfc"] else "no"} |
| rare characters | {rare.described(model["vocabulary"]) or "none"} |
| recipe | {training["recipe"]}, {results["steps"]} steps, {results["epochs"]} epochs, \
batch {training["batch_size"]}, window {training["seq_len"]}, learning rate {training["lr"]}, \
{", ".join(regularisation(ModelConfig(**model), training["weight_decay"])) or "no dropout"}, \
seed {training["seed"]} |
| begun from | {_begun(training.get("initialised_from"))} |
| trained on | {"the first 95 %" if training["final"] else "the first 90 %"} of the corpus, \
{results["seconds"] / 60:.1f} minutes on {training["device"]}, \
Torch {config["versions"]["torch"]} |
| validation | {_bits(results["validation_bits_per_character"])} (epoch {results["best_epoch"]}) |
| test | {_bits(results["test_bits_per_character"])} on {_held_out(config)}, scored once, \
state carried{rare.counted()} |
| run | {state} |

Characters: `{vocabulary}`

## Limits
The model has seen one corpus and repeats its views, its errors and its prejudices. It knows
characters, not facts: whatever it says about the world is chance. It can quote its corpus.
"""


def _held_out(config: dict[str, Any]) -> str:
    """What the test figure is of: the last 5 %, or as many of its characters as are scored."""
    split = sum(config["initial"]) // (19 if config["training"]["final"] else 18)
    return "the last 5 %" if split <= JUDGED else f"{JUDGED:,} characters of the last 5 %"


def _begun(source: dict[str, str] | None) -> str:
    return f"{source['name']} (sha256 {source['sha256']})" if source else "random weights"


def _bits(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f} bits per character"
