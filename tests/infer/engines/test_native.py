"""charlm's own operator: the same numbers whatever runs beside a stream, and what it refuses."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

from charlm.data.system.errors import ModelFileError
from charlm.data.text.vocabulary import Vocabulary
from charlm.export import contract as names
from charlm.export import weights
from charlm.export.contract import C_NEXT, H_NEXT, LOGITS, C, H, Metadata
from charlm.export.contract import native as contract_native
from charlm.export.graphs import step_graph
from charlm.infer.engines.base import log_softmax
from charlm.infer.engines.native import NativeEngine, NativeReader
from charlm.infer.engines.planning import open_predictor
from charlm.infer.engines.reader import StepTextReader
from charlm.infer.generator import Generator
from charlm.infer.model.open import open_model
from charlm.infer.sampling.draw import Sampling
from charlm.infer.sampling.filters import Filters
from charlm.infer.sampling.philox import UniformStream
from charlm.infer.scoring.score import zero_states

CountFlips = Callable[..., int]
OUTPUTS = [
    names.TOKENS, names.LOG_PROBABILITY, names.LOG_PROBABILITIES, LOGITS, H_NEXT, C_NEXT,
]  # fmt: skip
OLDEST = "1.22.0"  # of onnxruntime, that pyproject.toml allows

pytestmark = pytest.mark.skipif(
    contract_native.problem() is not None, reason=str(contract_native.problem())
)


def with_ids(native: bytes, operator: str, kind: int) -> bytes:
    """The graph by another operator, whose ids are of another type."""
    model = onnx.load_model_from_string(native)
    model.graph.node[0].op_type = operator
    for each in (*model.graph.input, *model.graph.output):
        if each.name in (names.PROMPT, names.TOKENS):
            each.type.tensor_type.elem_type = kind
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module", params=[contract_native.OPERATOR, contract_native.WIDE])
def native(small_content: bytes, small_metadata: Metadata, request: pytest.FixtureRequest) -> bytes:
    graph = contract_native.native_graph(small_content, small_metadata, "small")
    if request.param == contract_native.WIDE:
        graph = with_ids(graph, request.param, onnx.TensorProto.INT32)
    return graph


def session(graph: bytes, precision: str = "float32", threads: int = 1, device: str = "cpu") -> Any:
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    contract_native.add_entries(options, precision, threads, device)
    return runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def inputs(opened: Any, batch: int, **given: Any) -> dict[str, npt.NDArray[Any]]:
    """Streams 0, 1, ... of seed 3 in states of their own, which read nothing and draw nothing."""
    _, layers, hidden = opened.get_inputs()[0].shape
    random = np.random.RandomState(7)
    h = np.tanh(random.standard_normal((batch, layers, hidden)).astype(np.float32))
    ones = np.ones(batch, dtype=np.float32)
    feed = {
        H: h,
        C: 3 * h[::-1],
        names.PROMPT: np.zeros((batch, 0)),
        names.LENGTHS: np.zeros(batch, dtype=np.int64),
        names.SCORED: np.array(0),
        names.STEPS: np.array(0),
        names.SEED: np.full(batch, 3, dtype=np.uint64),
        names.STREAM: np.arange(batch, dtype=np.uint64),
        names.POSITION: np.arange(batch, dtype=np.uint64) % 9,
        names.INVERSE_TEMPERATURE: ones,
        names.TOP_K: np.where(np.arange(batch) % 5 == 1, 3, 1 << 40),
        names.TOP_P: np.where(np.arange(batch) % 5 == 2, 0.8, 2).astype(np.float32),
        names.MIN_P: np.where(np.arange(batch) % 5 == 3, 0.1, 0).astype(np.float32),
    } | given
    (kind,) = (each.type for each in opened.get_inputs() if each.name == names.PROMPT)
    ids = np.uint8 if kind == "tensor(uint8)" else np.int32
    return feed | {names.PROMPT: feed[names.PROMPT].astype(ids)}


def rows(feed: dict[str, npt.NDArray[Any]], some: slice) -> dict[str, npt.NDArray[Any]]:
    return {name: each[some] if each.ndim else each for name, each in feed.items()}


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("model", ["small", "lovecraft"])
def test_a_stream_is_the_same_to_the_bit_in_any_batch_and_on_any_threads(
    request: pytest.FixtureRequest, model: str, precision: str
) -> None:
    opened: Generator = request.getfixturevalue(model)
    one = opened.model.native(precision, 1)
    size = len(opened.vocabulary)
    random = np.random.RandomState(1)
    read = {
        names.PROMPT: random.randint(0, size, (1000, 7)),
        names.LENGTHS: random.randint(0, 8, 1000),
        names.SCORED: np.array(2),
        names.STEPS: np.array(20),
    }
    feed = inputs(one, 1000, **read)
    wanted = one.run(OUTPUTS, feed)
    for batch, threads in itertools.product((1, 5, 64), (1, 2, 3)):
        several = opened.model.native(precision, threads)
        for first in range(0, min(1000, 3 * batch), batch):
            some = slice(first, first + batch)
            for name, found, all_rows in zip(
                OUTPUTS, several.run(OUTPUTS, rows(feed, some)), wanted, strict=True
            ):
                np.testing.assert_array_equal(found, all_rows[some], err_msg=name)
    for name, found, before in zip(
        OUTPUTS, opened.model.native(precision, 3).run(OUTPUTS, feed), wanted, strict=True
    ):
        np.testing.assert_array_equal(found, before, err_msg=name)


def test_ids_are_bytes_where_a_byte_holds_them(
    exact_weights: weights.Weights, exact_metadata: Metadata, tmp_path: Path
) -> None:
    """Of 256 characters, and one more."""
    for size, ids in ((256, np.uint8), (257, np.int32)):
        many = replace(
            exact_weights,
            table=np.tile(exact_weights.table, (10, 1, 1))[:size],
            head=np.tile(exact_weights.head, 10)[:, :size],
            head_bias=np.linspace(0, 3, size, dtype=np.float32),
        )
        metadata = replace(
            exact_metadata,
            vocabulary=Vocabulary("".join(chr(0x4E00 + place) for place in range(size))),
            initial=(1 / size,) * size,
            weights_sha256=weights.sha256(many),
        )
        path = tmp_path / f"{size}.onnx"
        path.write_bytes(step_graph.build(many, metadata))
        model = open_model(path, "cpu")
        prompt = "".join(metadata.vocabulary.characters[-9:])
        native, steps = (
            Generator(model, via=via).text(prompt, length=300, seed=1)
            for via in ("native", "steps")
        )
        assert native == steps
        text, zeros = metadata.vocabulary.encode(prompt * 9)[None], zero_states(metadata, 1)
        found, wanted = (
            each.predict(text, zeros, zeros)[0]
            for each in (open_predictor(model), StepTextReader(model))
        )
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
        feed = inputs(model.native("float32", 1), 2, **{names.STEPS: np.array(5)})
        assert model.native("float32", 1).run([names.TOKENS], feed)[0].dtype == ids
    graph = contract_native.native_graph(path.read_bytes(), metadata, "257")
    narrow = with_ids(graph, contract_native.OPERATOR, onnx.TensorProto.UINT8)
    with pytest.raises(Exception, match="a vocabulary of 257 needs CharLSTMWide"):
        session(narrow)


def test_on_a_gpu_ids_are_wide_only_where_they_must_be(
    small_content: bytes, small_metadata: Metadata
) -> None:
    graph = contract_native.native_graph(small_content, small_metadata, "small")
    wide = with_ids(graph, contract_native.WIDE, onnx.TensorProto.INT32)
    with pytest.raises(Exception, match="on a GPU a vocabulary of 28 needs CharLSTM"):
        session(wide, device="cuda")


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("cuts", [(1,) * 24, (5, 19), (23, 1), (8, 8, 8)])
def test_steps_may_be_cut_into_any_runs(
    small: Generator, precision: str, cuts: tuple[int, ...]
) -> None:
    opened = small.model.native(precision, 1)
    feed = inputs(opened, 17, **{names.STEPS: np.array(24)})
    wanted = dict(zip(OUTPUTS, opened.run(OUTPUTS, feed), strict=True))
    tokens = []
    for steps in cuts:
        found = dict(
            zip(OUTPUTS, opened.run(OUTPUTS, feed | {names.STEPS: np.array(steps)}), strict=True)
        )
        feed |= {H: found[H_NEXT], C: found[C_NEXT]}
        feed[names.POSITION] = feed[names.POSITION] + np.uint64(steps)
        tokens.append(found[names.TOKENS])
    np.testing.assert_array_equal(np.concatenate(tokens, axis=1), wanted[names.TOKENS])
    for name in (H_NEXT, C_NEXT, LOGITS):
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


def test_what_was_drawn_can_be_read_again(small: Generator) -> None:
    """Reading a text leaves the state that drawing it left, to the bit."""
    opened = small.model.native("float32", 1)
    feed = inputs(opened, 9, **{names.STEPS: np.array(30)})
    tokens, _, _, *drawn = opened.run(OUTPUTS, feed)
    again = {names.PROMPT: tokens, names.LENGTHS: np.full(9, 30)}
    _, _, _, *read = opened.run(OUTPUTS, inputs(opened, 9, **again))
    for found, wanted in zip(read, drawn, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
@pytest.mark.parametrize(
    "filters", [Filters(), Filters(5), Filters(0, 0.8), Filters(12, 0.9, 0.05)]
)
def test_it_draws_the_step_graphs_characters_but_for_near_ties(
    lovecraft: Generator, count_flips: CountFlips, temperature: float, filters: Filters
) -> None:
    """Fed its own text, the step graph gives logits by which each character was due."""
    model, length, streams = lovecraft.model, 150, 20
    prompt = lovecraft.encode("the nameless city of the")
    primed = NativeReader(model.native("float32", 1), model.metadata).read([prompt])
    engine = NativeEngine(model.native("float32", 1), model.metadata)
    numbers = [UniformStream(3, stream) for stream in range(streams)]
    sampling = Sampling.same(streams, len(lovecraft.vocabulary), temperature, filters, numbers)
    engine.start(primed.take([0] * streams), sampling)
    drawn = engine.draw(length)
    feed = np.concatenate((np.tile(prompt, (streams, 1)), drawn), axis=1).astype(np.int64)
    h = c = np.zeros((streams, 1, 192), dtype=np.float32)
    logits = []
    for column in feed.T[:-1]:
        found, h, c = model.session.run(None, {"token": column, "h": h, "c": c})
        logits.append(found)
    kept = np.stack(logits[len(prompt) - 1 :], axis=1)
    flips = 0
    for stream in range(streams):
        uniforms = UniformStream(3, stream).take(length)
        tokens = drawn[stream].tolist()
        flips += count_flips(kept[stream], tokens, uniforms, temperature, filters)
    assert flips <= 3  # of 3,000: a few in a million are expected


def test_its_state_stays_the_step_graphs_over_a_thousand_steps(lovecraft: Generator) -> None:
    model = lovecraft.model
    text = lovecraft.encode(lovecraft.text("the", length=1000, seed=2)).astype(np.int64)
    reader = NativeReader(model.native("float32", 1), model.metadata)
    primed = reader.read([text])
    h = c = np.zeros((1, 1, 192), dtype=np.float32)
    for token in text:
        logits, h, c = model.session.run(None, {"token": np.array([token]), "h": h, "c": c})
    for found, wanted in ((primed.h, h), (primed.c, c), (primed.logits, logits)):
        size = max(1.0, float(np.abs(wanted).max()))
        assert np.abs(found - wanted).max() <= 1e-3 * size


def test_prompts_of_any_lengths_are_read_side_by_side(small: Generator) -> None:
    reader = NativeReader(small.model.native("float32", 2), small.metadata)
    prompts = [small.encode("abcdefgh" * 9)[:length] for length in (1, 72, 3, 3, 40, 72, 2)]
    together = reader.read(prompts)
    for row, prompt in enumerate(prompts):
        alone = reader.read([prompt])
        for found, wanted in (
            (together.h, alone.h), (together.c, alone.c), (together.logits, alone.logits)
        ):  # fmt: skip
            np.testing.assert_array_equal(found[row], wanted[0])


def test_scores_end_where_a_text_ends(small: Generator) -> None:
    """The id after the last that is read is judged too, and nothing beyond it is looked at."""
    opened = small.model.native("float32", 1)
    ids = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
    long = inputs(opened, 2, **{names.PROMPT: ids, names.LENGTHS: np.array([4, 4])})
    long[names.SCORED] = np.array(2)
    short = long | {names.LENGTHS: np.array([1, 0])}
    short[names.PROMPT] = np.array([[3, 1, 28, 99, 99], [9] + [255] * 4], dtype=np.uint8)
    for name in (names.LOG_PROBABILITY, names.LOG_PROBABILITIES):
        whole, part = (opened.run([name], each)[0] for each in (long, short))
        whole[0, 2:] = whole[1, 1:] = 0
        np.testing.assert_array_equal(part, whole)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("model", ["small", "lovecraft"])
def test_all_log_probabilities_are_those_of_the_logits_in_each_place(
    request: pytest.FixtureRequest, model: str, precision: str
) -> None:
    """And that of what followed is the score, to the bit."""
    opened = request.getfixturevalue(model).model.native(precision, 1)
    size = len(request.getfixturevalue(model).vocabulary)
    lengths, ids = np.arange(60) % 8, np.random.RandomState(1).randint(0, size, (60, 8))
    feed = inputs(opened, 60, **{names.PROMPT: ids, names.LENGTHS: lengths})
    names_of = [names.LOG_PROBABILITY, names.LOG_PROBABILITIES]
    shapes = [[each.shape for each in opened.run(names_of, feed | {names.SCORED: np.array(kind)})]
              for kind in (0, 1)]  # fmt: skip
    assert shapes == [[(60, 0), (60, 0, size)], [(60, 8), (60, 0, size)]]
    chosen, every = opened.run(names_of, feed | {names.SCORED: np.array(2)})
    np.testing.assert_array_equal(chosen, np.take_along_axis(every, ids[..., None], axis=2)[..., 0])
    for place in range(8):
        reads = np.flatnonzero(lengths >= place)
        (logits,) = opened.run([LOGITS], feed | {names.LENGTHS: np.minimum(lengths, place)})
        wanted = log_softmax(logits[reads].astype(np.float64))
        spread = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(every[reads, place], wanted, rtol=0, atol=1e-6 * spread)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an id past the vocabulary": (
        {names.PROMPT: np.array([[1], [28]]), names.LENGTHS: np.array([1, 1])}, "id 28",
    ),
    "a negative id": (
        {names.PROMPT: np.array([[1], [-1]]), names.LENGTHS: np.array([1, 1])}, "id -1|id 255",
    ),
    "a length past the prompt": ({names.LENGTHS: np.array([0, 1])}, "length of prompt 1 is 1"),
    "a negative length": ({names.LENGTHS: np.array([-1, 0])}, "length of prompt 0 is -1"),
    "negative steps": ({names.STEPS: np.array(-1)}, "steps is -1"),
    "steps without end": ({names.STEPS: np.array(1 << 40)}, "steps is"),
    "scores of a kind that there is not": ({names.SCORED: np.array(3)}, "scored is 3"),
    "less than no scores": ({names.SCORED: np.array(-1)}, "scored is -1"),
    "a state that is not finite": ({H: np.full((2, 2, 16), np.nan, np.float32)}, "not finite"),
    "a state of another size": ({H: np.zeros((2, 2, 15), np.float32)}, "dimension 2|INVALID"),
    "states of other streams": ({C: np.zeros((3, 2, 16), np.float32)}, "dimension 0 of c is 3"),
    "too few seeds": ({names.SEED: np.zeros(1, np.uint64)}, "dimension 0 of seed is 1"),
    "a temperature that is no number": (
        {names.INVERSE_TEMPERATURE: np.array([1, np.nan], np.float32)}, "stream 1",
    ),
    "a negative temperature": (
        {names.INVERSE_TEMPERATURE: np.array([-1, 1], np.float32)}, "stream 0",
    ),
    "top-k of nothing": ({names.TOP_K: np.array([0, 5])}, "stream 0 is out of range"),
    "top-p of nothing": ({names.TOP_P: np.zeros(2, np.float32)}, "out of range"),
    "min-p past 1": ({names.MIN_P: np.array([0, 1.5], np.float32)}, "stream 1 is out of range"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_inputs_out_of_range_are_refused_before_anything_is_touched(
    native: bytes, case: str
) -> None:
    given, said = REFUSED[case]
    opened = session(native)
    with pytest.raises(Exception, match=said):
        opened.run(None, inputs(opened, 2, **given))
    opened.run(None, inputs(opened, 2))  # it goes on


def test_no_stream_at_all_is_no_mistake(native: bytes) -> None:
    opened = session(native)
    feed = rows(inputs(opened, 2, **{names.STEPS: np.array(5)}), slice(0))
    assert opened.run([names.TOKENS], feed)[0].shape == (0, 5)


def changed(native: bytes, name: str, array: npt.NDArray[Any]) -> bytes:
    model = onnx.load_model_from_string(native)
    (found,) = (each for each in model.graph.initializer if each.name == name)
    found.CopyFrom(numpy_helper.from_array(array, name))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("recurrent", np.zeros((16, 60), np.float32), "don't fit together"),
        ("recurrent", np.zeros((17, 68), np.float32), "don't fit together"),
        ("upper", np.zeros((1, 31, 64), np.float32), "don't fit together"),
        ("upper_bias", np.zeros((2, 64), np.float32), "dimension 0 of upper_bias is 2, not 1"),
        ("head", np.zeros((16, 27), np.float32), "dimension 1 of head is 27, not 28"),
        ("head_bias", np.zeros(29, np.float32), "dimension 0 of head_bias"),
        ("head_bias", np.zeros((28, 1), np.float32), "has 2 dimensions, not 1"),
        ("table", np.zeros((0, 64), np.float32), "don't fit together"),
        ("head", np.full((16, 28), np.inf, np.float32), "not finite"),
        ("table", np.zeros((28, 64), np.float64), "Type"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    native: bytes, name: str, array: npt.NDArray[Any], said: str
) -> None:
    with pytest.raises(Exception, match=said):
        session(changed(native, name, array))


def test_weights_must_stand_in_the_graph(native: bytes) -> None:
    model = onnx.load_model_from_string(native)
    (head,) = (each for each in model.graph.initializer if each.name == "head")
    model.graph.input.append(helper.make_tensor_value_info("head", head.data_type, head.dims))
    with pytest.raises(Exception, match="head must be an initializer"):
        session(bytes(model.SerializeToString()))


def test_a_node_with_an_input_too_few_is_refused(native: bytes) -> None:
    model = onnx.load_model_from_string(native)
    del model.graph.node[0].input[-1]
    with pytest.raises(Exception, match="CharLSTM"):
        session(bytes(model.SerializeToString()))


@pytest.mark.parametrize(
    ("precision", "device"), [("int4", "cpu"), ("int4", "cuda"), ("fp16", "cpu"), ("int8", "cuda")]
)
def test_a_precision_that_a_device_has_not_is_refused(
    native: bytes, precision: str, device: str
) -> None:
    saying = rf"precision is float32, int8 \(cpu\) or fp16 \(cuda\), not '{precision}'"
    with pytest.raises(Exception, match=saying):
        session(native, precision, device=device)
    with pytest.raises(Exception, match="device is cpu or cuda, not 'tpu'"):
        session(native, device="tpu")
    session(native)  # the next one starts


def test_weights_at_which_float32_overflows_are_an_error_and_no_text(
    small_content: bytes, small_metadata: Metadata, native: bytes, tmp_path: Path
) -> None:
    model = onnx.load_model_from_string(small_content)
    for each in model.graph.initializer:
        if each.name in ("table", "head"):
            values = np.sign(numpy_helper.to_array(each)) * np.float32(3e38)
            each.CopyFrom(numpy_helper.from_array(values, each.name))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="not finite"):
        Generator.open(path, "cpu").text("the", length=50)


def here() -> Iterator[str]:
    """The instruction sets that this machine has."""
    code = "from charlm.export.contract import native as c; print(c.problem() is None)"
    for name in ("avx512", "avxvnni", "avx2", "baseline", "neondot", "neon"):
        environment = {**os.environ, "CHARLM_ISA": name}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        if done.stdout.strip() == "True":
            yield name


def generated(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "charlm.infer.cli.gen",
            "the nameless city",
            "--seed",
            "1",
            *arguments,
        ],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )


def test_every_instruction_set_writes_the_same_text() -> None:
    """Near-ties apart, of which this text has none."""
    texts = {name: generated({"CHARLM_ISA": name}, "--length", "2000").stdout for name in here()}
    assert len(texts) >= 2
    assert len(set(texts.values())) == 1, texts.keys()


def test_an_instruction_set_that_is_not_there_is_told_and_passed_over() -> None:
    done = generated({"CHARLM_ISA": "avx1024"}, "--length", "50", "--explain")
    assert done.stdout.startswith("the nameless city")
    assert "CHARLM_ISA is 'avx1024', which this machine or this build has not" in done.stderr
    assert "path: step loop" in done.stderr


@pytest.mark.parametrize("content", [b"", b"not a library", b"\x7fELF" + bytes(2000)])
def test_a_damaged_library_is_told_and_passed_over(
    tmp_path: Path, content: bytes, small_path: Path
) -> None:
    library = tmp_path / contract_native.LIBRARY.name
    library.write_bytes(content)
    code = (
        "import sys; from pathlib import Path; from charlm.export.contract import native as c; "
        f"c.LIBRARY = Path({str(library)!r}); from charlm.infer.cli import gen; "
        f"sys.argv = ['charlm-gen', 'the', '--length', '40', '--model', {str(small_path)!r}]; "
        "gen.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(done.stdout) == len("the") + 40 + 1
    (line,) = (line for line in done.stderr.splitlines() if "native operator" in line)
    assert str(library) in line
    assert "C++ compiler" in line


def test_it_runs_on_the_oldest_onnxruntime_that_is_allowed(tmp_path: Path) -> None:
    """On the newest all other tests run."""
    install = [
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path),
        "--disable-pip-version-check", f"onnxruntime=={OLDEST}",
    ]  # fmt: skip
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"onnxruntime {OLDEST} can't be had: {done.stderr.splitlines()[-1]}")
    code = (
        "import onnxruntime; print(onnxruntime.__version__); "
        "from charlm.infer.generator import Generator; g = Generator.open('lovecraft', 'cpu'); "
        "assert g.model.without_native is None, g.model.without_native; "
        "print(g.text('the nameless city', length=300, seed=1))"
    )
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    texts = [
        subprocess.run(
            [sys.executable, "-c", code], env=each, capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for each in (environment, dict(os.environ))
    ]
    assert texts[0][0] == OLDEST
    assert texts[1][0] != OLDEST
    assert texts[0][1:] == texts[1][1:]
