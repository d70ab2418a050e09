"""The command `charlm-score`: files, lines, JSON, mistakes."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.data.system import console
from charlm.data.system.errors import CorpusError, ModelFileError
from charlm.infer.cli import score as cli_score
from charlm.infer.engines.planning import WORTH_CUDA_STREAMS, Work
from charlm.infer.generator import Generator
from charlm.infer.scoring import report
from charlm.infer.scoring.many import Scored
from charlm.infer.scoring.reading import CHUNK_BYTES, WORTH_A_BAR, progress_of, read_file
from charlm.infer.scoring.score import Score, Scorer
from charlm.infer.scoring.windows import WindowScorer

Run = Callable[..., tuple[int, str, list[str]]]


def letters(count: int, seed: int = 0) -> str:
    ids = np.random.RandomState(seed).randint(0, 28, count)
    return "".join(" abcdefghijklmnopqrstuvwxyzé"[place] for place in ids)


@pytest.fixture
def run(
    small_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs `charlm-score` with the small model: its exit code, stdout, and lines on stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, list[str]]:
        capsys.readouterr()
        given = [*map(str, arguments), "--model", str(small_path)]
        code = console.exit_code(cli_score.app, "charlm-score", given)
        shown = capsys.readouterr()
        return code, shown.out, shown.err.splitlines()

    return call


def test_the_command_scores_files_and_their_total(run: Run, small: Generator) -> None:
    texts = {"a.txt": letters(300), "b.txt": letters(500, seed=1)}
    for name, text in texts.items():
        Path(name).write_text(text, encoding="utf-8")
    scores = [Scorer(small.model).score([text]) for text in texts.values()]
    total = scores[0] + scores[1]
    code, out, err = run("a.txt", "b.txt")
    assert code == 0
    assert out.splitlines() == [
        f"{name}: {each.bits_per_character:.4f} bits/char, perplexity {each.perplexity:.3f}, "
        f"{each.characters} characters"
        for name, each in zip([*texts, "total"], [*scores, total], strict=True)
    ]
    assert len(err) == 1
    assert "small.onnx, cpu" in err[0]
    code, out, _ = run("a.txt")
    assert (code, len(out.splitlines())) == (0, 1)


def test_what_scores_is_named_before_it_has_read_the_text(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []

    def read(*_: object) -> Iterator[str]:
        yield letters(9)
        said.append(capsys.readouterr().err)

    monkeypatch.setattr(report, "read_file", read)
    assert run("a.txt")[0] == 0
    assert "small.onnx, cpu" in said[0]


def test_a_file_named_twice_counts_twice(run: Run) -> None:
    Path("a.txt").write_text(letters(300), encoding="utf-8")
    found = json.loads(run("a.txt", "a.txt", "--json")[1])
    assert [each["file"] for each in found["files"]] == ["a.txt", "a.txt"]
    assert found["total"]["characters"] == 2 * 299


def test_json(run: Run, small: Generator) -> None:
    Path("a.txt").write_text(letters(300), encoding="utf-8")
    wanted = Scorer(small.model).score([letters(300)])
    code, out, _ = run("a.txt", "--json")
    fields = {
        "bits_per_character": wanted.bits_per_character,
        "perplexity": wanted.perplexity,
        "characters": 299,
        "bits": wanted.bits,
        "replaced": 0,
        "dropped": 0,
    }
    assert code == 0
    assert json.loads(out) == {"files": [{"file": "a.txt", **fields}], "total": fields}


def test_text_is_read_and_normalised_as_a_corpus_is(run: Run) -> None:
    Path("plain.txt").write_bytes(b"thecity")
    Path("other.txt").write_bytes(b"\xef\xbb\xbfThe\r\nCiTy\r\n")
    Path("latin.txt").write_bytes("thé".encode("latin-1"))
    wanted = run("plain.txt")[1].partition(": ")[2]
    assert run("other.txt")[1].partition(": ")[2] == wanted
    code, out, _ = run("latin.txt", "--encoding", "latin-1")
    assert (code, out.endswith("2 characters\n")) == (0, True)


@pytest.mark.parametrize("more", [(), ("--window", 7)])
def test_a_dash_reads_standard_input(
    run: Run, monkeypatch: pytest.MonkeyPatch, more: tuple[object, ...]
) -> None:
    Path("a.txt").write_text(letters(300), encoding="utf-8")
    wanted = run("a.txt", *more)[1].partition(": ")[2]
    given = io.TextIOWrapper(io.BytesIO(letters(300).encode()))
    monkeypatch.setattr(sys, "stdin", given)
    code, out, _ = run("-", *more)
    assert (code, out.partition(": ")[2]) == (0, wanted)


def test_a_text_is_not_read_from_where_its_scores_go(tmp_path: Path, small_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("the city")
    command = [sys.executable, "-m", "charlm.infer.cli.score", "--model", str(small_path)]
    with path.open("ab") as out:
        done = subprocess.run([*command, str(path)], stdout=out, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert b"standard output goes into " in done.stderr
    assert path.read_text() == "the city"


@pytest.mark.parametrize(
    ("content", "arguments", "saying"),
    [
        (b"", [], "a.txt: too short to score"),
        (b"a", [], "a.txt: too short to score"),
        (b"ab\xff", [], "a.txt: not utf-8: byte 0xff at position 2"),
        (b"ab\x00", [], "a.txt: binary data, not text"),
        (b"the?city", [], "a.txt: character '?' (U+003F) at line 1, column 4, is"),
        (b"abc", ["--encoding", "nonsense"], "unknown encoding 'nonsense'"),
        (b"abc", ["--unknown", "??"], "'??' is not one of the model's 28 characters"),
        (b"abc", ["--threads", "0"], "--threads is from 1 to 256"),
        (b"abc", ["--precision", "fp16", "--provider", "cpu"], "runs with --provider cuda only"),
        (b"abc", ["--precision", "half"], "float32, int8, fp16"),
        (b"abc", ["--parallel", "--segments", "0"], "--segments is from 1 to 65536, not 0"),
        (b"abc", ["--parallel", "--warm-up", "-1"], "--warm-up is from 0 to 65536, not -1"),
        (b"abc", ["--provider", "gpu"], "--provider is one of"),
        (b"abc", ["model.onnx"], "model.onnx is a model and no text: give it with --model"),
        (b"abc", ["--window", "4097"], "--window is from 1 to 4096 characters, not 4097;"),
        (b"abc", ["--window", "7", "--parallel"], "leave --parallel out"),
        (b"abc", ["--window", "7", "--warm-up", "3"], "--warm-up is for texts that are cut up"),
        (None, [], "can't read a.txt: no such file or directory"),
    ],
)
def test_a_mistake_is_one_line(
    run: Run, content: bytes | None, arguments: list[str], saying: str
) -> None:
    if content is not None:
        Path("a.txt").write_bytes(content)
    code, out, err = run("a.txt", *arguments)
    assert (code, out) == (2, "")
    assert saying in err[-1]
    assert err[-1].startswith("charlm-score: ")
    assert len(err) <= 2


@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_wrong_with_one_file_leaves_the_others_their_scores(
    run: Run, as_json: bool
) -> None:
    for name, text in (("a.txt", letters(300)), ("b.txt", "the?city"), ("d.txt", letters(99))):
        Path(name).write_text(text, encoding="utf-8")
    names = ["a.txt", "b.txt", "missing.txt", "d.txt"]
    code, out, err = run(*names, *(["--json"] if as_json else []))
    assert code == 2
    assert len(err) == 3
    assert "b.txt: character '?' (U+003F) at line 1, column 4," in " ".join(err)
    assert "; --unknown drop leaves it out" in " ".join(err), "as the command spells it"
    assert "charlm-score: can't read missing.txt: no such file or directory" in err
    if as_json:
        found = json.loads(out)
        assert [each["file"] for each in found["files"]] == names
        assert ["error" in each for each in found["files"]] == [False, True, True, False]
        assert found["files"][1]["error"].endswith("--unknown drop leaves it out")
        assert found["total"]["characters"] == 299 + 98
    else:
        starts = [line.partition(":")[0] for line in out.splitlines()]
        assert starts == ["a.txt", "d.txt", "total of 2 files"]


def test_a_name_that_no_file_can_have_leaves_the_others_their_scores(run: Run) -> None:
    Path("a.txt").write_text(letters(300), encoding="utf-8")
    code, out, err = run("a.txt", "x" * 300)
    assert (code, out[:7], out.count("\n")) == (2, "a.txt: ", 1)
    assert err[-1] == f"charlm-score: can't read {'x' * 300}: file name too long"


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are of any bytes on Linux")
def test_a_name_that_is_not_utf_8_is_written_by_its_bytes(run: Run) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    for each in (name, "b.txt"):
        Path(each).write_text(letters(300), encoding="utf-8")
    code, out, _ = run(name, "b.txt")
    assert (code, len(out.splitlines())) == (0, 3)
    assert out.startswith("caf\\udce9.txt: ")


def test_where_no_file_can_be_scored_there_is_no_total(run: Run) -> None:
    code, out, err = run("a.txt", "b.txt", "--json")
    assert (code, len(err)) == (2, 3)
    assert json.loads(out)["total"] is None
    assert run("a.txt", "b.txt")[1] == ""


def test_an_unknown_encoding_is_one_line_for_any_number_of_files(run: Run) -> None:
    code, out, err = run("a.txt", "b.txt", "c.txt", "--encoding", "nonsense")
    assert (code, out, len(err)) == (2, "", 1)


@pytest.mark.parametrize("threads", [1, 3])
def test_many_files_come_in_their_order_whatever_ends_first(run: Run, threads: int) -> None:
    names = [f"{place}.txt" for place in range(20)]
    for place, name in enumerate(names):
        Path(name).write_text(letters(2 + 997 * (19 - place) % 1500, place), encoding="utf-8")
    code, out, _ = run(*names, "--threads", threads)
    assert code == 0
    assert [line.partition(":")[0] for line in out.splitlines()] == [*names, "total"]


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("error", "exit_code"), [(KeyboardInterrupt(), 130), (ModelFileError("damaged"), 2)]
)
def test_what_is_finished_is_written_before_an_error_or_ctrl_c(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    as_json: bool,
    error: BaseException,
    exit_code: int,
) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        Path(name).write_text(letters(50), encoding="utf-8")

    def interrupted(*_: Any, **__: Any) -> Iterator[Scored]:
        yield Scored(0, Score(10, 20.0))
        yield Scored(2, Score(10, 30.0))
        raise error

    monkeypatch.setattr(report.many, "score_many", interrupted)
    code, out, _ = run("a.txt", "b.txt", "c.txt", *(["--json"] if as_json else []))
    assert code == exit_code
    if as_json:
        found = json.loads(out)
        assert [each["file"] for each in found["files"]] == ["a.txt", "c.txt"]
        assert found["total"]["bits"] == 50.0
    else:
        assert [line.partition(":")[0] for line in out.splitlines()] == ["a.txt", "c.txt"]


@pytest.mark.parametrize("as_json", [False, True])
def test_where_nothing_is_finished_an_error_leaves_nothing_on_stdout(
    run: Run, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    def broken(*_: Any, **__: Any) -> Iterator[Scored]:
        raise ModelFileError("damaged")
        yield

    monkeypatch.setattr(report.many, "score_many", broken)
    code, out, err = run("a.txt", "b.txt", *(["--json"] if as_json else []))
    assert (code, out) == (2, "")
    assert err[-1] == "charlm-score: damaged"


def test_segments_say_what_they_cost(run: Run, small: Generator) -> None:
    Path("a.txt").write_text(letters(9000), encoding="utf-8")
    exact = Scorer(small.model).score([letters(9000)])
    code, out, _ = run("a.txt", "--parallel", "--warm-up", 50)
    assert code == 0
    assert ", 8,999 characters; 8 segments, 7 of them warmed up on 50 characters: " in out
    assert out.endswith(" bits/char from the exact figure, measured at 7 of these 7\n")
    code, out, _ = run("a.txt", "a.txt", "--parallel", "--json", "--segments", 4, "--threads", 2)
    found = json.loads(out)
    for fields, count in ((found["files"][0], 1), (found["total"], 2)):
        assert fields["parallel"] is True
        assert (fields["segments"], fields["warm_up"]) == (4 * count, 256)
        assert (fields["characters"], fields["borders_measured"]) == (8999 * count, 3 * count)
        real = fields["bits_per_character"] - exact.bits_per_character
        assert fields["difference_from_exact"] == pytest.approx(real, abs=1e-5)
    Path("b.txt").write_text(letters(90), encoding="utf-8")
    assert run("b.txt", "--parallel")[1].endswith("; too short to be cut, exact\n")


@pytest.mark.parametrize("option", ["--segments", "--warm-up"])
def test_segments_are_for_parallel(run: Run, option: str) -> None:
    Path("a.txt").write_text(letters(90), encoding="utf-8")
    code, out, err = run("a.txt", option, 4)
    assert (code, out) == (2, "")
    assert err == [f"charlm-score: {option} is for texts that are cut up: give --parallel, too"]


def test_no_file_is_one_line(run: Run) -> None:
    code, out, err = run()
    assert (code, out, len(err)) == (2, "", 1)
    assert "charlm-score --help" in err[0]


def test_the_command_gives_both_figures(run: Run, small: Generator) -> None:
    texts = {"a.txt": letters(100), "b.txt": letters(150, seed=1)}
    for name, text in texts.items():
        Path(name).write_text(text, encoding="utf-8")
    scorer = WindowScorer(small.model, 7)
    scores = [scorer.score([text]) for text in texts.values()]
    scores.append(scores[0] + scores[1])
    code, out, _ = run("a.txt", "b.txt", "--window", 7)
    assert code == 0
    assert out.splitlines() == [
        f"{name}: {each.bits_per_character:.4f} bits/char, "
        f"perplexity {each.perplexity:.3f}, {each.characters} characters; "
        f"each after the last 7 alone; state carried: "
        f"{each.carried.bits_per_character:.4f} bits/char"
        for name, each in zip([*texts, "total"], scores, strict=True)
    ]
    found = json.loads(run("a.txt", "b.txt", "--window", 7, "--json")[1])
    assert found["total"]["window"] == 7
    assert found["total"]["bits"] == pytest.approx(scores[2].bits)
    assert found["total"]["carried"]["bits"] == pytest.approx(scores[2].carried.bits)


def test_all_bytes_are_told_once_they_are_done(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("é" * CHUNK_BYTES, encoding="utf-8")
    done: list[int] = []
    text = "".join(read_file(path, "utf-8", done.append))
    assert text == "é" * CHUNK_BYTES
    assert sum(done) == path.stat().st_size
    assert max(done) <= CHUNK_BYTES


def test_a_file_is_opened_when_it_is_asked_for(tmp_path: Path) -> None:
    chunks = read_file(tmp_path / "later.txt", "utf-8", lambda _: None)
    (tmp_path / "later.txt").write_text("now", encoding="utf-8")
    assert "".join(chunks) == "now"
    with pytest.raises(CorpusError, match="can't read"):
        next(read_file(tmp_path / "never.txt", "utf-8", lambda _: None))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_drawn_for_enough_bytes_and_someone_to_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / name for name in ("a.txt", "b.txt", "missing.txt")]
    for path in files[:2]:
        path.write_bytes(b"a" * (WORTH_A_BAR // 2))
    for stream, count, drawn in (
        (Terminal(), 3, True), (Terminal(), 1, False), (io.StringIO(), 3, False)
    ):  # fmt: skip
        monkeypatch.setattr(sys, "stderr", stream)
        with progress_of(files[:count]) as bar:
            bar.advance(1000)
        assert bool(stream.getvalue()) == drawn
        assert ("3 files" in stream.getvalue()) == drawn


def test_texts_to_score_are_work_by_their_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_bytes(b"x" * 1000)
    two.write_bytes(b"x" * 3000)
    for files, wanted in (([one, two], (2, 2000)), ([one], (1, 1000)), ([one, Path("-")], (2, 0))):
        assert report.work_of(report.ScoringJob(files)) == Work(*wanted)
    cut = report.work_of(report.ScoringJob([two], parallel=True))
    assert (cut.streams, cut.length) == (WORTH_CUDA_STREAMS, 3000 // WORTH_CUDA_STREAMS)
