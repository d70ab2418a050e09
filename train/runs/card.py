"""The model card of a run: what it was trained on, how, how good it is, and its limits."""

from typing import Any

from charlm.data.text.rare import Rare
from charlm.train.config import ModelConfig, regularisation
from charlm.train.loop.evaluate import JUDGED

LIMITS = (
    "The model has seen one corpus and repeats its views, its errors and its prejudices. It knows "
    "characters, not facts: whatever it says about the world is chance. It can quote its corpus."
)


def render(name: str, config: dict[str, Any]) -> str:
    """Markdown for the content of `config.json`, of a run or of an imported model."""
    model, normal = config["model"], config["normalisation"]
    describe = _imported if "source" in config["training"] else _trained
    origin, before, after, limits = describe(config)
    rows = [
        f"model | {model['layers']} × LSTM({model['hidden']}), {model['vocabulary']} characters",
        *before,
        f"normalisation | case: {normal['case']}, newlines: {normal['newlines']}, "
        f"NFC: {'yes' if normal['nfc'] else 'no'}",
        *after,
    ]
    table = "\n".join(f"| {row} |" for row in rows)
    vocabulary = "".join(config["vocabulary"]).replace("\n", "⏎").replace("`", "ˋ")
    return f"""# {name}

A character-level LSTM language model, trained with {origin}charlm {config["versions"]["charlm"]}.

| | |
|---|---|
{table}

Characters: `{vocabulary}`

## Limits
{limits}
"""


Card = tuple[str, list[str], list[str], str]
"""What it was made with, rows before and after that of the normalisation, and its limits."""


def _trained(config: dict[str, Any]) -> Card:
    training, results, corpus = config["training"], config["results"], config["corpus"]
    rare = Rare.from_dict(config["rare"])
    held_back = regularisation(ModelConfig(**config["model"]), training["weight_decay"])
    begun = training.get("initialised_from")
    after = [
        f"rare characters | {rare.described(config['model']['vocabulary']) or 'none'}",
        f"recipe | {training['recipe']}, {results['steps']} steps, {results['epochs']:.3g} epochs, "
        f"batch {training['batch_size']}, window {training['seq_len']}, "
        f"learning rate {training['lr']}, {', '.join(held_back) or 'no dropout'}, "
        f"seed {training['seed']}",
        f"begun from | {_hashed(begun['name'], begun) if begun else 'random weights'}",
        f"trained on | the first {95 if training['final'] else 90} % of the corpus, "
        f"{results['seconds'] / 60:.1f} minutes on {training['device']}, "
        f"Torch {config['versions']['torch']}",
        f"validation | {_bits(results['validation_bits_per_character'])} "
        f"(epoch {results['best_epoch']:.3g})",
        f"test | {_bits(results['test_bits_per_character'])} on {_held_out(config)}, scored once, "
        f"state carried{rare.counted()}",
        f"run | {_end(results, training)}",
    ]
    return "", [f"corpus | {_hashed(', '.join(corpus['files']), corpus)}"], after, LIMITS


def _end(results: dict[str, Any], training: dict[str, Any]) -> str:
    if not results["finished"]:
        return "not finished; resume with charlm-train --resume"
    if results["steps"] == results["total_steps"]:
        return "finished"
    return f"finished early: {why_early(training['patience'])}"


def why_early(patience: int) -> str:
    """Why a run has ended before its last step."""
    return f"no better validation in {patience} {'epoch' if patience == 1 else 'epochs'}"


def _imported(config: dict[str, Any]) -> Card:
    """An imported model's card says what is not known of it."""
    training, results, corpus = config["training"], config["results"], config["corpus"]
    files, window = ", ".join(corpus["files"]), training["seq_len"]
    before = [
        f"imported from | {training['file']} (sha256 {training['file_sha256']})",
        f"trained on windows of | {window or 'not known, or none'}",
        "corpus, as named at the import | "
        + (_hashed(files, corpus) if files else "none: a list of characters was given"),
    ]
    after, limits = [], ""
    for kind, how in (("test", "state carried"), ("windowed", f"by windows of {window}")):
        if (bits := results[f"{kind}_bits_per_character"]) is not None:
            read = f"({results[f'{kind}_characters']:,} characters)"
            after.append(f"last 5 %, {how} | {_bits(bits)} {read}")
    if files:
        limits += (
            "Nobody recorded which part of the corpus the model learnt from, perhaps all of it: "
            "its figures are not those of unseen text. "
        )
    if training["initial"] == "uniform":
        limits += (
            "No corpus was named, so that the first character after an empty prompt is drawn "
            "evenly from all. "
        )
    if window is not None:
        limits += (
            f"It was trained on windows of {window} characters from a zero state: "
            f"`charlm-gen --window {window}` draws from that distribution, and carrying the state, "
            "which is faster, from another. "
        )
    limits += (
        f"{LIMITS} There is no training state to resume; `charlm-train TEXT --init-from` goes on "
        "from its weights."
    )
    return f"Keras {training['keras_version']} and imported with ", before, after, limits


def _held_out(config: dict[str, Any]) -> str:
    """What the test figure is of: the last 5 %, or as many of its characters as are scored."""
    split = sum(config["initial"]) // (19 if config["training"]["final"] else 18)
    return "the last 5 %" if split <= JUDGED else f"{JUDGED:,} characters of the last 5 %"


def _hashed(name: str, of: dict[str, str]) -> str:
    return f"{name} (sha256 {of['sha256']})"


def _bits(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f} bits per character"
