"""The model card of an imported model, which says what is not known of it."""

from typing import Any


def render(name: str, config: dict[str, Any]) -> str:
    """Markdown for the content of `config.json` (see `imported_run.describe`)."""
    model, training, corpus = config["model"], config["training"], config["corpus"]
    normalisation = config["normalisation"]
    vocabulary = "".join(config["vocabulary"]).replace("\n", "⏎").replace("`", "ˋ")
    window = training["seq_len"]
    return f"""# {name}

A character-level LSTM language model, trained with Keras {training["keras_version"]} and imported
with charlm {config["versions"]["charlm"]}.

| | |
|---|---|
| model | {model["layers"]} × LSTM({model["hidden"]}), {model["vocabulary"]} characters |
| imported from | {training["file"]} (sha256 {training["file_sha256"]}) |
| trained on windows of | {window or "not known, or none"} |
| corpus, as named at the import | {_corpus(corpus)} |
| normalisation | case: {normalisation["case"]}, newlines: {normalisation["newlines"]}, \
NFC: {"yes" if normalisation["nfc"] else "no"} |
{_figures(config["results"], window)}
Characters: `{vocabulary}`

## Limits
{_not_held_out(corpus)}{_first_character(training)}{_window(window)}The model has seen one corpus \
and repeats its views, its errors and its prejudices. It knows characters, not facts: whatever it \
says about the world is chance. It can quote its corpus. There is no training state to resume; \
`charlm-train TEXT --init-from` goes on from its weights.
"""


def _corpus(corpus: dict[str, Any]) -> str:
    if not corpus["files"]:
        return "none: a list of characters was given"
    return f"{', '.join(corpus['files'])} (sha256 {corpus['sha256']})"


def _figures(results: dict[str, Any], window: int | None) -> str:
    rows = []
    if (carried := results["test_bits_per_character"]) is not None:
        rows.append(
            f"| last 5 %, state carried | {carried:.4f} bits per character "
            f"({results['test_characters']:,} characters) |"
        )
    if (windowed := results["windowed_bits_per_character"]) is not None:
        rows.append(
            f"| last 5 %, by windows of {window} | {windowed:.4f} bits per character "
            f"({results['windowed_characters']:,} characters) |"
        )
    return "".join(f"{row}\n" for row in rows)


def _not_held_out(corpus: dict[str, Any]) -> str:
    if not corpus["files"]:
        return ""
    return (
        "Nobody recorded which part of the corpus the model learnt from, perhaps all of it: its "
        "figures are not those of unseen text. "
    )


def _first_character(training: dict[str, Any]) -> str:
    if training["initial"] != "uniform":
        return ""
    return (
        "No corpus was named, so that the first character after an empty prompt is drawn evenly "
        "from all. "
    )


def _window(window: int | None) -> str:
    if window is None:
        return ""
    return (
        f"It was trained on windows of {window} characters from a zero state: "
        f"`charlm-gen --window {window}` draws from that distribution, and carrying the state, "
        "which is faster, from another. "
    )
