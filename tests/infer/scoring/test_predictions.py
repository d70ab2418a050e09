"""What was expected before each character, and the ways of looking at it."""

import csv
import html
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.data.system import console
from charlm.data.system.errors import VocabularyError
from charlm.infer.cli import score as cli_score
from charlm.infer.generator import Generator
from charlm.infer.model.step import load_step
from charlm.infer.scoring import page
from charlm.infer.scoring.predictions import Judged
from charlm.infer.scoring.show import codes_of, coloured

TEXT = "the nameless city" + " of the old house " * 90  # more than a run reads
UNKNOWN = "Ω"
Run = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs `charlm-score` on the text `a.txt`: its exit code, stdout, and lines on stderr."""
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text(TEXT, encoding="utf-8")

    def call(*arguments: object, file: str = "a.txt") -> tuple[int, str, list[str]]:
        given = [file, *map(str, arguments), "--model", "lovecraft"]
        code = console.exit_code(cli_score.app, "charlm-score", given)
        shown = capsys.readouterr()
        return code, shown.out, shown.err.splitlines()

    return call


def test_predictions_are_those_of_the_step_and_sum_to_the_score(lovecraft: Generator) -> None:
    first, *found = lovecraft.predictions(TEXT)
    np.testing.assert_allclose(np.exp(first), lovecraft.metadata.initial, atol=1e-6)
    step, ids = load_step("lovecraft"), lovecraft.encode(TEXT)
    state = step.zero_state()
    total = 0.0
    for row, before, after in zip(found, ids[:-1], ids[1:], strict=True):
        logits, state = step([before], state)
        assert row.dtype == np.float32
        assert np.exp(row).sum() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(row - row[0], logits[0] - logits[0, 0], atol=1e-4)
        total -= row[after] / np.log(2)
    assert total / len(found) == pytest.approx(lovecraft.score(TEXT).bits_per_character, abs=1e-4)


def test_predictions_go_on_from_a_state(lovecraft: Generator) -> None:
    rest = list(lovecraft.predictions(TEXT[50:], state=lovecraft.read(TEXT[:50])))
    np.testing.assert_allclose(rest, list(lovecraft.predictions(TEXT))[50:], atol=1e-4)
    assert [len(list(lovecraft.predictions(text))) for text in ("", "a")] == [0, 1]
    with pytest.raises(VocabularyError):
        list(lovecraft.predictions(f"the{UNKNOWN}"))


def test_bits_ranks_and_levels() -> None:
    shares = np.array([[0.5, 0.25, 0.24, 0.01]] * 3, dtype=np.float32)
    judged = Judged(np.array([0, 2, 3]), np.log(shares), np.array([1]))
    np.testing.assert_allclose(judged.bits, [1, 2.059, 6.644], atol=1e-3)
    assert judged.ranks.tolist() == [1, 3, 4]
    assert judged.levels.tolist() == [1, 2, 5]
    assert judged.likeliest(2).tolist() == [[0, 1]] * 3


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_table_has_each_character_with_bits_and_rank(
    run: Run, lovecraft: Generator, suffix: str
) -> None:
    code, out, _ = run("--tokens", f"t.{suffix}")
    assert (code, out) == (0, run()[1])  # the same figures
    content = Path(f"t.{suffix}").read_text("utf-8")
    rows: list[dict[str, Any]] = (
        list(csv.DictReader(io.StringIO(content)))
        if suffix == "csv"
        else [json.loads(line) for line in content.splitlines()]
    )
    assert "".join(row["character"] for row in rows) == TEXT
    assert not rows[0]["bits"]
    assert not rows[0]["rank"]
    wanted = lovecraft.score(TEXT).bits_per_character
    bits = [float(row["bits"]) for row in rows[1:]]
    assert sum(bits) / len(bits) == pytest.approx(wanted, abs=1e-4)
    assert {1, 2} < {int(row["rank"]) for row in rows[1:]} <= set(range(1, 63))


def test_a_page_holds_the_text_and_what_was_expected(
    run: Run, lovecraft: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--html", "p.html")
    made = Path("p.html").read_text("utf-8")
    spans = re.findall(r"<i(?: class=\w+)?>(.)</i>", made.partition("<div id=text")[2])
    assert html.unescape("".join(spans)) == TEXT
    assert f"{lovecraft.score(TEXT).bits_per_character:.3f} bits per character" in made
    data = json.loads(re.search(r"id=data>(.*?)</script>", made)[1])  # type: ignore[index]
    row = list(lovecraft.predictions(TEXT[:2]))[1]
    bits, rank, *likely = data["seen"][1]
    assert data["seen"][0] == []
    assert likely[0] == row.argmax()
    assert likely[1] == round(1000 * float(np.exp(row.max())))
    assert data["characters"][lovecraft.encode(TEXT)[1]] == TEXT[1]
    assert bits == pytest.approx(-100 * row[lovecraft.encode(TEXT)[1]] / np.log(2), abs=0.6)
    assert rank == 1 + (row > row[lovecraft.encode(TEXT)[1]]).sum()
    assert not re.search(r"(src|href)=|url\(|@import", made)  # it needs no other file

    monkeypatch.setattr(page, "MOST_CHARACTERS", 100)
    _, out, err = run("--html", "p.html")
    assert out == run()[1]  # of the whole text
    assert f"p.html shows the first 100 characters of {len(TEXT):,}" in err[1]
    made = Path("p.html").read_text("utf-8")
    assert len(re.findall("<i", made.partition("<div id=text")[2])) == 100
    assert "These are the first 100 characters." in made


def judged_of(generator: Generator, text: str, log_probability: Any) -> Judged:
    ids = generator.encode(text)
    return Judged(ids[1:], np.asarray(log_probability, dtype=np.float32), ids[:1])


def test_markup_in_a_text_stays_text(lovecraft: Generator) -> None:
    size = len(lovecraft.vocabulary)
    text = "a&\"'"
    rows = np.full((len(text) - 1, size), -np.log(size))
    made = io.BytesIO()
    with page.page(made, Path("p"), lovecraft.metadata, "<b>.txt", "a </script> model") as take:
        take(judged_of(lovecraft, text, rows))
    content = made.getvalue().decode()
    assert "<h1>&lt;b&gt;.txt</h1>" in content
    assert "a &lt;/script&gt; model" in content
    assert content.count("</script>") == 2
    assert "<i class=b4>&amp;</i><i class=b4>&quot;</i>" in content


def test_colours_keep_the_text_and_mark_what_was_not_expected(lovecraft: Generator) -> None:
    rows = np.full((3, len(lovecraft.vocabulary)), -10.0)
    rows[[0, 1], lovecraft.encode("he")] = 0.0  # the last is a surprise
    for kind, mark in (("wide", "48;2;"), ("256", "48;5;")):
        out = io.StringIO()
        with coloured(out, lovecraft.metadata, kind) as take:
            take(judged_of(lovecraft, "thex", rows))
        text, legend = out.getvalue().splitlines()
        assert re.fullmatch(rf"the\x1b\[{mark}[\d;]+mx\x1b\[0m\x1b\[0m", text)
        assert "under 1" in legend
        assert "8 and more" in legend
    out = io.StringIO()
    with coloured(out, lovecraft.metadata, "plain") as take:
        take(judged_of(lovecraft, "thex", rows))
    assert out.getvalue() == "thex\n"


@pytest.mark.parametrize(
    ("color", "environment", "terminal", "kind"),
    [
        ("auto", {}, True, "256"),
        ("auto", {"COLORTERM": "truecolor"}, True, "wide"),
        ("auto", {}, False, "plain"),
        ("auto", {"NO_COLOR": "1"}, True, "plain"),
        ("auto", {"NO_COLOR": ""}, True, "256"),
        ("auto", {"TERM": "dumb"}, True, "plain"),
        ("always", {"NO_COLOR": "1"}, False, "256"),
        ("never", {"COLORTERM": "truecolor"}, True, "plain"),
    ],
)
def test_which_colours_are_written(
    color: str, environment: dict[str, str], terminal: bool, kind: str
) -> None:
    assert codes_of(color, environment, terminal=terminal) == kind


def test_show_prints_the_text_then_the_figures(run: Run) -> None:
    assert run("--show")[1] == f"{TEXT}\n{run()[1]}"
    assert "\x1b[48;5;" in run("--show", "--color", "always")[1]


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["--show", "--json"], "leave one out"),
        (["--show", "a.txt"], "--show, --html and --tokens are for one text: name one file"),
        (["--html", "p.html", "--parallel"], "leave out --parallel, --window and --precision"),
        (["--html", "a.txt"], "--html takes a file that ends in .html or .htm"),
        (["--tokens", "t.json"], "--tokens takes a file that ends in .jsonl or .csv"),
        (["--tokens", "none/t.csv"], "can't write none/t.csv: no such file or directory"),
        (["--show", "--color", "blue"], "--color is auto, always or never"),
        (["--color", "always"], "give --show, too"),
    ],
)
def test_a_mistake_is_one_line(run: Run, arguments: list[str], saying: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert saying in err[-1]
    assert len(err) <= 2


@pytest.mark.parametrize(("option", "name"), [("--tokens", "t.csv"), ("--html", "p.html")])
def test_a_view_never_replaces_its_text(run: Run, option: str, name: str) -> None:
    Path(name).hardlink_to("a.txt")
    for file in ("a.txt", name):
        code, out, err = run(option, name, file=file)
        assert (code, out) == (2, "")
        assert err == [f"charlm-score: {option} {name} would replace the text: choose another name"]
    assert Path("a.txt").read_text("utf-8") == TEXT


@pytest.mark.skipif(os.name == "nt", reason="no limit of a file's size on Windows")
@pytest.mark.parametrize(("option", "name"), [("--tokens", "t.csv"), ("--html", "p.html")])
@pytest.mark.parametrize("blocks", [0, 8])
def test_a_full_disk_is_named(run: Run, option: str, name: str, blocks: int) -> None:
    command = (sys.executable, "-m", "charlm.infer.cli.score", "a.txt", option, name)
    ended = subprocess.run(
        ["sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    about, problem = ended.stderr.splitlines()
    assert about.endswith(", cpu")
    assert problem == f"charlm-score: can't write {name}: file too large"
    assert [each.name for each in Path().iterdir()] == ["a.txt"]


def test_a_text_that_can_not_be_scored_leaves_no_file(run: Run) -> None:
    Path("bad.txt").write_text(TEXT + UNKNOWN, encoding="utf-8")
    given = ["--show", "--html", "p.html", "--tokens", "t.csv"]
    code, _, err = run(*given, file="bad.txt")
    assert (code, len(err)) == (2, 2)
    assert sorted(each.name for each in Path().iterdir()) == ["a.txt", "bad.txt"]
