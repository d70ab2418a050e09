"""What to try next: each rule where its figure is there, and not where it isn't."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from charlm.data import MAX_WINDOW
from charlm.data.system import console
from charlm.data.text.normalise import Normalisation
from charlm.data.text.rare import MAX_VOCABULARY, MIN_COUNT, REPLACEMENT, Rare
from charlm.export import cli as export_cli
from charlm.infer.cli import gen as cli_gen
from charlm.train import cli as train_cli
from charlm.train.config import TrainingConfig
from charlm.train.report.advice import advise
from charlm.train.report.likeness import Distances
from charlm.train.report.measure import Evidence
from charlm.train.report.reading import ContextPoint
from charlm.train.report.subject import Point, Subject
from charlm.train.setup import defaults


@pytest.fixture
def content(evidence: Evidence) -> Evidence:
    """Evidence of a long, good training that no rule but the one on short texts minds."""
    curve = tuple(Point(n, n * 5400, float(n), 2.0, 2.1) for n in range(1, 41))
    return replace(
        evidence,
        curve=curve,
        bits=2.1,
        gap=(2.0, 2.1),
        ngrams=(4.0, 2.5),
        compressed=(),
        context=(ContextPoint(10, 2.9), ContextPoint(None, 2.1)),
        drift=replace(evidence.drift, laps=(2.1, 2.1)),
        copies=tuple(replace(each, shares={40: 0.001}) for each in evidence.copies),
        distances=(
            Distances("temperature 0.7", {"3 characters": 0.2}),
            Distances("temperature 1", {"3 characters": 0.2}),
        ),
    )


def given(subject: Subject, evidence: Evidence) -> list[str]:
    return [each.what for each in advise(subject, evidence)]


def falling(content: Evidence) -> Evidence:
    """The same of a training whose last evaluation was its best."""
    *curve, last = content.curve
    return replace(content, curve=(*curve, replace(last, validation_bits=2.0)))


def changed(subject: Subject, **training: object) -> Subject:
    summary = subject.run.summary | {"training": subject.training | training}
    return replace(subject, run=replace(subject.run, summary=summary))


SHORT = "more text, or begin from a model of a larger one, such as lovecraft for English"


def test_nothing_but_that_the_text_is_short(subject: Subject, content: Evidence) -> None:
    assert given(subject, content) == [SHORT]
    tuned = changed(subject, initialised_from={"name": "lovecraft", "sha256": "0"})
    assert given(tuned, content) == [SHORT.removesuffix(", such as lovecraft for English")]


def test_still_falling(subject: Subject, content: Evidence) -> None:
    (first, *_) = advise(subject, falling(content))
    assert first.what == "train longer"
    assert "by 0.100 bits since the evaluation before, to 2.000" in first.because
    assert "2 times as long should gain about 0.04 bits" in first.because
    assert "--epochs 80" in first.command


@pytest.mark.parametrize(("epochs", "often"), [(1, "once"), (3, "3 times")])
def test_few_epochs_and_worse_than_ngrams(
    subject: Subject, content: Evidence, epochs: int, often: str
) -> None:
    short = replace(content, curve=content.curve[:epochs], ngrams=(2.0,), compressed=())
    (first, *_) = advise(subject, short)
    assert first.what == "train longer"
    assert f"read its text {often}, and 40 repay their time" in first.because
    assert f"--epochs {4 * epochs}" in first.command


def test_many_epochs_and_worse_than_ngrams(subject: Subject, content: Evidence) -> None:
    (first, *_) = advise(subject, replace(content, ngrams=(3.0, 2.0)))
    assert first.what == "more hidden units"
    assert "2-gram does better: 2.000" in first.because
    for words in ("--hidden 32", "--layers 2", "--epochs 2"):
        assert words in first.command


def test_what_has_hardly_begun_is_trained_longer(subject: Subject, content: Evidence) -> None:
    """Worse than how often each character occurs: nothing else is worth a word."""
    (point, *_) = content.curve
    poor = replace(
        content, curve=(replace(point, epoch=0.1),), bits=4.5, ngrams=(4.25, 2.5), gap=(4.1, 4.5),
        context=(ContextPoint(40, 4.4), ContextPoint(None, 4.5)),
    )  # fmt: skip
    first, second = advise(subject, poor)
    assert (first.what, second.what) == ("train longer", SHORT)
    assert "it needs 4.500 bits, and how often each character occurs alone gives 4.250" in (
        first.because
    )
    folders = [shlex.split(each.command)[-1] for each in (first, second)]
    assert folders == ["runs/tiny-2", "runs/tiny-3"], "one line's run would refuse the other's"


def test_a_text_that_repeats_itself(subject: Subject, content: Evidence) -> None:
    *others, held = content.copies
    copies = (*others, replace(held, shares={40: 0.35}))
    first, _ = advise(subject, replace(content, copies=copies))
    assert first.because.startswith("35% of the held-out text's substrings of 40 characters")
    assert first.command == ""


def test_a_gap_between_learnt_and_held_out(
    subject: Subject, content: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    rising = tuple(
        replace(point, validation_bits=2.1 if n == 7 else 2.2)
        for n, point in enumerate(content.curve)
    )
    (first, *_) = advise(subject, replace(content, gap=(1.5, 2.1), curve=rising))
    assert first.what == "more dropout, or more text"
    assert "1.500 bits and the rest at 2.100; validation was best after epoch 8" in first.because
    assert "--dropout 0.2" in first.command
    model = subject.run.model
    large = replace(model.config, vocabulary=5000, output_dropout=0.25)
    monkeypatch.setattr(model, "config", large)
    (first, *_) = advise(subject, replace(content, gap=(1.5, 2.1), curve=rising))
    assert "--output-dropout 0.4" in first.command, (
        "of a large vocabulary, most weights are its own"
    )


def test_no_gap_at_all(subject: Subject, content: Evidence) -> None:
    assert given(subject, replace(content, gap=(2.09, 2.1))) == ["more hidden units", SHORT]


def test_a_model_that_wants_windows(subject: Subject, content: Evidence) -> None:
    context = (ContextPoint(40, 2.0), ContextPoint(None, 2.1))
    last = advise(subject, replace(content, context=context))[-1]
    assert last.command.startswith("charlm-export ./tiny.onnx --run /")
    assert last.command.endswith("/tiny && charlm-gen --window 40 --model ./tiny.onnx")


def test_a_window_that_charlm_gen_takes_and_that_is_exactly_so_long(
    subject: Subject, content: Evidence
) -> None:
    def given(*points: tuple[int | None, float]) -> str:
        context = tuple(ContextPoint(*point) for point in points)
        return advise(subject, replace(content, context=context))[-1].command

    assert f"--window {MAX_WINDOW // 2 + 512} " in given(
        (1280, 2.05), (MAX_WINDOW // 2 + 512, 2.0), (5120, 1.9), (None, 2.1)
    )
    assert "--window" not in given((2560, 2.1), (5120, 1.9), (None, 2.1))
    # A reset every 80 averages over 1 to 80 characters: 2.0 where the first half cost 1.5 less.
    assert "--window 40 " in given((20, 3.0), (40, 2.02), (80, 2.0), (None, 2.1))


def test_drift(subject: Subject, content: Evidence) -> None:
    drifting = replace(content, drift=replace(content.drift, laps=(2.1, 2.3)))
    last = advise(subject, drifting)[-1]
    assert "from 2.100 to 2.300 bits" in last.because


def test_quotes(subject: Subject, content: Evidence) -> None:
    first, *others = content.copies
    quoting = replace(content, copies=(replace(first, shares={40: 0.3}), *others))
    last = advise(subject, quoting)[-1]
    assert "30.0% of its substrings of 40 characters" in last.because
    assert "--epochs 20" in last.command


def test_a_better_temperature(subject: Subject, content: Evidence) -> None:
    cooler = (Distances("temperature 0.7", {"3 characters": 0.1}), content.distances[1])
    last = advise(subject, replace(content, distances=cooler))[-1]
    assert last.command.endswith("charlm-gen --temperature 0.7 --model ./tiny.onnx")


def test_commands_name_texts_from_where_the_user_is(
    subject: Subject, content: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = subject.files
    assert f"charlm-train {file.resolve()} " in advise(subject, content)[0].command
    monkeypatch.chdir(file.parent.parent)
    inside = str(Path(file.parent.name) / file.name)
    assert f"charlm-train {inside} " in advise(subject, content)[0].command


def test_where_a_run_began_is_kept_unless_the_sizes_change(
    subject: Subject, content: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = changed(subject, initialised_from={"name": "old.onnx", "sha256": "0"})
    assert not advise(tuned, falling(content))[0].command, "it is gone"
    monkeypatch.chdir(tmp_path)
    Path("old.onnx").touch()
    longer = advise(tuned, falling(content))[0].command
    assert "--init-from old.onnx" in longer
    assert "--hidden" not in longer
    tuned = changed(tuned, lr=0.016, muon_lr=0.0125, epochs=4)
    larger = advise(tuned, replace(content, ngrams=(4.0, 2.0)))[0].command
    assert "--hidden 32 --layers 2" in larger
    for gone in ("--init-from", "--lr", "--muon-lr", "--epochs"):
        assert gone not in larger, "it was for weights that had learnt"
    beside = replace(tuned, folder=tmp_path / "runs" / "new")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "old.onnx").touch()
    (tmp_path / "runs" / "new-2").touch()
    longer = advise(beside, falling(content))[0].command
    assert "--init-from runs/old.onnx" in longer
    assert longer.endswith("--out runs/new-3"), "there is one already"


def test_what_holds_back_is_named_where_the_rule_has_another(
    subject: Subject, content: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:

    def longer(**training: object) -> str:
        tuned = changed(subject, **training)
        return advise(tuned, falling(content))[0].command

    model = subject.run.model
    assert "--dropout 0.0" in longer(epochs=20), "nobody but its user wanted none"
    learnt = len(subject.splits.train)
    rule = defaults.fill_in(model.config, TrainingConfig(minutes=1.0, passes=20), learnt)
    monkeypatch.setattr(model, "config", replace(rule[0], dropout=0.45))
    by_minutes = {"epochs": None, "minutes": 1.0, "passes": 20}
    command = longer(**by_minutes, weight_decay=rule[1].weight_decay)
    assert "--dropout 0.45" in command
    assert "--output-dropout" not in command, "more passes have another"
    assert "--weight-decay" not in command
    assert "dropout" not in longer(recipe="notebook")


def test_other_weights_keep_their_own_dropout(
    subject: Subject, content: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = subject.run.model
    monkeypatch.setattr(model, "config", replace(model.config, dropout=0.35, output_dropout=0.2))
    other = next(a for a in advise(subject, content) if "begin from a model" in a.what).command
    assert "--init-from lovecraft" in other
    assert "dropout" not in other
    summary = subject.run.summary | {"corpus": {"encoding": "cp1251"}}
    run = replace(subject.run, summary=summary)
    assert "--encoding cp1251" in advise(replace(subject, run=run), content)[0].command
    shares = tuple(0.0 if c.isascii() else 1.0 for c in run.vocabulary.characters)
    other = advise(replace(subject, run=replace(run, initial=shares)), content)[-1]
    assert "lovecraft" not in other.what + other.command, "it would gain nothing"


def test_the_shipped_model_is_named_again(subject: Subject, content: Evidence) -> None:
    tuned = changed(subject, initialised_from={"name": "lovecraft.onnx", "sha256": "0"})
    command = advise(tuned, falling(content))[0].command
    assert "--init-from lovecraft " in command


def test_rare_characters_are_told_as_before(subject: Subject, content: Evidence) -> None:
    rare = Rare("drop", None, 5, 2000, 7)
    dropped = replace(subject, run=replace(subject.run, rare=rare))
    command = advise(dropped, replace(content, ngrams=(2.0,)))[0].command
    assert "--rare drop --min-count 5 --max-vocabulary 2000" in command
    usual = Rare("replace", REPLACEMENT, MIN_COUNT, MAX_VOCABULARY, 7)
    plain = replace(subject, run=replace(subject.run, rare=usual))
    command = advise(plain, replace(content, ngrams=(2.0,)))[0].command
    for default in ("--rare", "--min-count", "--max-vocabulary"):
        assert default not in command


def test_the_text_is_read_as_before(subject: Subject, content: Evidence) -> None:
    run = replace(subject.run, normalisation=Normalisation(case="lower", newlines="drop"))
    command = advise(replace(subject, run=run), replace(content, ngrams=(2.0,)))[0].command
    assert "--case lower --newlines drop" in command


def test_what_the_user_had_said_is_kept(subject: Subject, content: Evidence) -> None:
    short = replace(content, curve=content.curve[:2])
    said = changed(subject, minutes=0.3, epochs=None, seed=7, clip=0.5, patience=9, threads=2)
    command = advise(said, short)[0].command
    for words in ("--minutes 1.2", "--seed 7", "--clip 0.5", "--patience 9", "--threads 2"):
        assert words in command
    assert "--epochs" not in command
    assert "--minutes 0.3" in advise(said, replace(content, gap=(1.5, 2.1)))[0].command
    notebook = changed(subject, recipe="notebook", batch_size=96, clip=None, muon_lr=None)
    command = advise(notebook, short)[0].command
    assert "--recipe notebook" in command
    assert "None" not in command


def test_an_unfinished_run_is_trained_on(subject: Subject, content: Evidence) -> None:
    results = subject.results | {"finished": False, "steps": 90, "total_steps": 200}
    summary = subject.run.summary | {"results": results}
    (first, *_) = advise(replace(subject, run=replace(subject.run, summary=summary)), content)
    assert first.because == "it is not finished: 90 steps of 200"
    assert first.command == f"charlm-train --resume --out {subject.folder}"


def test_every_line_runs(
    subject: Subject,
    content: Evidence,
    copied_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All that any rule says of a run; those that train do so for an epoch."""
    monkeypatch.chdir(tmp_path)
    apps = {"charlm-train": train_cli, "charlm-export": export_cli, "charlm-gen": cli_gen}
    first, *others = content.copies
    own = replace(subject, folder=copied_run)
    lines = [
        line
        for each in (
            replace(content, curve=content.curve[:2]),
            replace(content, gap=(1.5, 2.1)),
            replace(content, gap=(2.09, 2.1), context=(ContextPoint(40, 2.0), content.context[-1])),
            replace(content, copies=(replace(first, shares={40: 0.3}), *others)),
        )
        for advice in advise(own, each)
        for line in advice.command.split(" && ")
    ]
    assert len(lines) > 8
    for line in dict.fromkeys(lines):
        command, *words = shlex.split(line)
        words += {"charlm-train": ["--no-report", "--overwrite", "--epochs", "1"],
                  "charlm-export": ["--no-siblings"],
                  "charlm-gen": ["--length", "20"]}[command]  # fmt: skip
        assert console.exit_code(apps[command].app, command, words) == 0, line
