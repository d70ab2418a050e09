"""How a model came about, from what its run folder says; and what a report can't know of it."""

from itertools import accumulate
from typing import Any

from charlm.train.config import ModelConfig, regularisation
from charlm.train.report.evidence import Point
from charlm.train.report.extent import Extent
from charlm.train.report.subject import Subject


def points(subject: Subject) -> tuple[Point, ...]:
    """The training's evaluations, in order."""
    records = subject.metrics
    seconds = _seconds(subject)
    return tuple(
        Point(
            float(record["epoch"]),
            round(float(record["epoch"]) * subject.predicted_in_an_epoch),
            each,
            float(record["train_bits"]),
            record.get("validation_bits"),
        )
        for record, each in zip(records, seconds, strict=True)
    )


def _seconds(subject: Subject) -> list[float]:
    """Seconds of training at each evaluation, for older runs from the speed of each epoch."""
    records = subject.metrics
    if all("seconds" in record for record in records):
        return [float(record["seconds"]) for record in records]
    epochs = [0.0, *(float(record["epoch"]) for record in records)]
    each = [
        (epoch - before) * subject.predicted_in_an_epoch
        / max(float(record["characters_per_second"]), 1.0)
        for before, epoch, record in zip(epochs, epochs[1:], records, strict=False)
    ]  # fmt: skip
    return list(accumulate(each))


def about(subject: Subject) -> dict[str, str]:
    """Facts on model, text and training, by their names."""
    model, training = subject.run.model.config, subject.training
    learnt, results = subject.splits.train, subject.results
    facts = {
        "model": f"{model.layers} × LSTM({model.hidden}), {model.vocabulary} characters, "
        f"{sum(p.numel() for p in subject.run.model.parameters()):,} weights",
        "text": f"{', '.join(subject.texts)}: {sum(map(len, subject.splits)):,} characters, "
        f"{len(learnt):,} of them to learn from",
    }
    if subject.trained_here:
        facts["training"] = (
            f"recipe {training['recipe']}, {results['epochs']} epochs, {results['steps']:,} steps, "
            f"{results['seconds'] / 60:.1f} minutes on {training['device']}"
        )
        facts["settings"] = _settings(training, model)
    else:
        facts["training"] = f"imported from {training.get('file', 'elsewhere')}"
    if counted := subject.run.rare.counted():
        facts["rare characters"] = counted.removeprefix(", rare characters ")
    return facts


def _settings(training: dict[str, Any], model: ModelConfig) -> str:
    begun = training.get("initialised_from")
    return ", ".join(
        filter(
            None,
            (
                f"batch {training['batch_size']}",
                f"window {training['seq_len']}",
                f"{training.get('optimiser', 'adam')}, learning rate {training['lr']:g}",
                *regularisation(model, training.get("weight_decay")),
                f"begun from {begun['name']}" if begun else "",
                f"seed {training['seed']}",
            ),
        )
    )


def notes(subject: Subject, extent: Extent) -> tuple[str, ...]:
    """What could not be known, and what was cut short."""
    splits = subject.splits
    found = []
    if not subject.trained_here:
        found.append(
            "The model was imported: nobody recorded how its training went, nor which part of the "
            "text it learnt from, perhaps all. What is called held out here may have been learnt."
        )
    elif not subject.results.get("finished", True):
        found.append("The training is not finished: this is its best epoch so far.")
    if subject.trained_here and not len(splits.validation):
        found.append("Trained with --final: no validation chose the epoch.")
    if extent.held_out < len(splits.test):
        found.append(
            f"Of the last 5 % of the text ({len(splits.test):,} characters) the first "
            f"{extent.held_out:,} were read; --seconds allows for more."
        )
    if extent.resets < extent.held_out:
        found.append(f"The curve of contexts is of the first {extent.resets:,} of them.")
    if extent.compared < len(splits.train):
        found.append(
            f"n-grams, compressors and the search for copies know the last {extent.compared:,} of "
            f"the {len(splits.train):,} characters that the model learnt from."
        )
    return tuple(found)
