"""Folders for other hosts: what Triton and ONNX Runtime GenAI make of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.data.system.errors import ExportError
from charlm.data.text.vocabulary import Vocabulary
from charlm.export import contract, weights
from charlm.export.contract import Metadata
from charlm.export.graphs import genai_graph
from charlm.export.hosts import genai, triton
from charlm.export.proof.prove import prove_genai, prove_step
from charlm.export.proof.sessions import open_session
from charlm.train.model import CharLSTM

Make = Callable[..., CharLSTM]
Describe = Callable[[CharLSTM], Metadata]
Export = Callable[..., tuple[int, list[str]]]
Refuses = Callable[..., None]

SHIPPED = Path(__file__).parents[3] / "infer" / "models" / "lovecraft.onnx"
GENAI = {"genai_config.json", "model.json", "model.onnx", "tokenizer.json", "tokenizer_config.json"}


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(write_run: Callable[[Path, CharLSTM], Path], make_model: Make) -> Path:
    return write_run(Path("runs/first"), make_model())


def test_folders_of_a_run_and_of_a_file(export: Export, run: Path) -> None:
    code, lines = export("book.onnx", "--no-siblings", "--triton", "new/triton", "--genai", "genai")
    assert code == 0
    assert any(line.startswith("new/triton: ") for line in lines)
    graph = Path("book.onnx").read_bytes()
    assert files(Path("new/triton/book")) == {"1/model.onnx", "config.pbtxt", "model.json"}
    assert Path("new/triton/book/1/model.onnx").read_bytes() == graph
    assert files(Path("genai")) == GENAI
    before = [Path("genai", name).read_bytes() for name in sorted(GENAI)]
    code, lines = export("--model", "book.onnx", "--genai", "genai")
    assert (code, lines[0]) == (0, "book.onnx: proven against the weights it carries")
    assert [Path("genai", name).read_bytes() for name in sorted(GENAI)] == before
    assert Path("book.onnx").read_bytes() == graph
    assert not list(Path().rglob("*.tmp"))


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["--model", "a.onnx"], "--model goes with --web or --triton or --genai"),
        (["--run", "runs/first", "--genai", "g"], "--genai goes with MODEL.onnx"),
        (["--verify-only", "a.onnx", "--triton", "t"], "--triton goes with MODEL.onnx"),
        (["a.onnx", "--model", "b.onnx", "--triton", "t"], "not both"),
        (["--model", "none.onnx", "--genai", "g"], "no model none.onnx"),
        (["a.onnx", "--genai", "file"], "can't write file: "),
    ],
)
def test_what_can_not_be_done(
    refuses: Refuses, run: Path, arguments: list[str], saying: str
) -> None:
    Path("file").touch()
    refuses(*arguments, saying=saying)


def test_no_file_of_the_users_is_replaced(export: Export, refuses: Refuses, run: Path) -> None:
    Path("mine").mkdir()
    assert export("mine/model.onnx", "--no-siblings", "--triton", "repository")[0] == 0
    before = Path("mine/model.onnx").read_bytes()
    refuses("--genai", "mine", "--model", "lovecraft", saying="mine holds other things")
    refuses("--genai", "mine", "--model", "mine/model.onnx", saying="mine is to hold something")
    refuses("own.onnx", "--genai", "g", "--triton", "g", saying="g is to hold something else too")
    Path("repository/model/model.json").unlink()  # as of a model that is not charlm's
    refuses(
        "--triton", "repository", "--model", "mine/model.onnx",
        saying="repository/model holds other things",
    )  # fmt: skip
    assert Path("mine/model.onnx").read_bytes() == before
    assert not Path("own.onnx").exists()


def test_a_model_joins_other_models_and_nothing_else(
    export: Export, refuses: Refuses, run: Path
) -> None:
    """A folder for Triton may hold models of others, and no run, picture or export for a host."""
    Path("repository/other").mkdir(parents=True)
    refuses("a.onnx", "--triton", "repository", saying="it holds other things, such as other")
    refuses("a.onnx", "--triton", run, saying=f"{run} is no model repository")
    Path("repository/other/config.pbtxt").touch()
    Path("repository/.git").mkdir()
    for name in ("a.onnx", "a.onnx", "b.onnx"):
        assert export(name, "--no-siblings", "--triton", "repository")[0] == 0
    assert {path.name for path in Path("repository").iterdir()} == {"a", "b", "other", ".git"}
    assert {path.name for path in run.iterdir()} == {"config.json", "model.safetensors"}


def test_triton_reads_the_configuration_and_finds_the_graph_to_be_as_it_says(
    make_model: Make, metadata_of: Describe, build: Callable[[CharLSTM], bytes]
) -> None:
    text_format = pytest.importorskip("google.protobuf.text_format")
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    model = make_model()
    metadata, graph = metadata_of(model), build(model)
    config = text_format.Parse(triton.config(metadata, 'my "böok"'), schema.ModelConfig())
    assert (config.name, config.backend) == ('my "böok"', "onnxruntime")
    session = open_session(graph, "book")
    inputs, outputs = (
        {each.name: (each.type, each.shape[1:]) for each in listed}
        for listed in (session.get_inputs(), session.get_outputs())
    )
    types = {schema.TYPE_INT64: "tensor(int64)", schema.TYPE_FP32: "tensor(float)"}
    (token,), (logits,) = config.input, config.output
    assert token.HasField("reshape")  # a request's [1] is a row of the graph's [batch]
    assert (list(token.dims), list(token.reshape.shape)) == ([1], [])
    given = {token.name: (types[token.data_type], [])}
    found = {logits.name: (types[logits.data_type], list(logits.dims))}
    for state in config.sequence_batching.state:
        tensor = (types[state.data_type], list(state.dims))
        given[state.input_name] = found[state.output_name] = tensor
        (zero,) = state.initial_state
        assert (types[zero.data_type], list(zero.dims)) == tensor
        assert zero.zero_data
        assert zero.name
    assert (given, found) == (inputs, outputs)


def test_states_that_triton_would_exchange_are_refused(
    make_model: Make, metadata_of: Describe
) -> None:
    pairs = [(each["input"], each["output"]) for each in metadata_of(make_model()).states()]
    triton.check_order(pairs)
    with pytest.raises(ExportError, match="exchange"):
        triton.check_order([("h", "a_next"), ("c", "b_next")])


def test_a_graph_for_genai_of_other_weights_is_refused(
    make_model: Make, metadata_of: Describe, build: Callable[[CharLSTM], bytes]
) -> None:
    model, other = make_model(), make_model(seed=1)
    metadata = metadata_of(model)
    _, texts = prove_step(build(model), model, metadata, "step", 30)
    graph = genai_graph.build(weights.from_torch(model), metadata)
    prove_genai(graph, metadata, texts, "genai")
    with pytest.raises(ExportError, match=r"genai.* at batch 1"):
        prove_genai(
            genai_graph.build(weights.from_torch(other), metadata), metadata, texts, "genai"
        )


@pytest.mark.parametrize("layers", [1, 3])
def test_a_state_may_be_read_and_written_in_one_place(
    make_model: Make, metadata_of: Describe, layers: int
) -> None:
    """As GenAI has it: a graph that wrote before all is read would read what it wrote."""
    model = make_model(layers=layers, scale=4)
    graph = genai_graph.build(weights.from_torch(model), metadata_of(model))
    session = open_session(graph, "genai")
    apart = {name: np.zeros((2, layers, 16), np.float32) for name in genai_graph.BEFORE.values()}
    shared = {name: array.copy() for name, array in apart.items()}
    for ids in ([[1, 2, 3], [4, 5, 6]], [[7], [8]], [[9], [-1]]):
        tokens = {genai_graph.INPUT_IDS: np.array(ids)}
        wanted, *after = session.run(None, tokens | apart)
        binding = session.io_binding()
        for name, array in (tokens | shared).items():
            binding.bind_cpu_input(name, array)
        binding.bind_output("logits")
        for name, array in zip(genai_graph.AFTER.values(), shared.values(), strict=True):
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        session.run_with_iobinding(binding)
        assert np.array_equal(binding.copy_outputs_to_cpu()[0], wanted)
        apart = dict(zip(apart, after, strict=True))
        assert all(np.array_equal(shared[name], apart[name]) for name in shared)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """ONNX Runtime GenAI, and the model that ships, open in it."""
    module = pytest.importorskip("onnxruntime_genai")
    folder = tmp_path_factory.mktemp("genai")
    arrays, metadata = weights.from_graph(SHIPPED.read_bytes(), str(SHIPPED))
    graph = genai_graph.build(arrays, metadata)
    for name, content in genai.folder(graph, metadata).items():
        (folder / name).write_bytes(content)
    return module, module.Model(str(folder))


def test_genai_draws_ten_thousand_characters_as_charlm_does(runtime: tuple[Any, Any]) -> None:
    from charlm.infer import Generator

    module, model = runtime
    tokenizer, parameters = module.Tokenizer(model), module.GeneratorParams(model)
    parameters.set_search_options(max_length=10_020, do_sample=False)
    generator, prompt = module.Generator(model, parameters), "in the café "
    generator.append_tokens(tokenizer.encode(prompt))
    for _ in range(10_000):
        generator.generate_next_token()
    text = tokenizer.decode(generator.get_sequence(0))
    charlm = Generator.open(SHIPPED, "cpu")
    assert text[: len(prompt) + 10_000] == prompt + charlm.text(
        prompt, length=10_000, temperature=0
    )


def test_genai_never_draws_the_end(runtime: tuple[Any, Any]) -> None:
    module, model = runtime
    parameters = module.GeneratorParams(model)
    parameters.set_search_options(max_length=2_000, temperature=3.0, random_seed=1)
    generator = module.Generator(model, parameters)
    generator.append_tokens(np.array([44], np.int32))
    while not generator.is_done():
        generator.generate_next_token()
    assert len(generator.get_sequence(0)) == 2_000


@pytest.mark.parametrize("characters", ["\t\n <a|é中丰文😀", " 'abcdelnst’"])
def test_a_character_is_one_token(
    runtime: tuple[Any, Any],
    make_model: Make,
    metadata_of: Describe,
    tmp_path: Path,
    characters: str,
) -> None:
    module, _ = runtime
    model = make_model(vocabulary=len(characters))
    described = metadata_of(model).to_properties() | {
        contract.KEY_VOCABULARY: Vocabulary(characters).to_json()
    }
    metadata = Metadata.from_properties(described, "model")
    graph = genai_graph.build(weights.from_torch(model), metadata)
    for name, content in genai.folder(graph, metadata).items():
        (tmp_path / name).write_bytes(content)
    tokenizer = module.Tokenizer(module.Model(str(tmp_path)))
    text = characters + characters[::-1] + characters[1] * 3 + characters[0] * 3
    ids = [characters.index(each) for each in text]
    assert tokenizer.encode(text).tolist() == ids
    stream = tokenizer.create_stream()
    assert "".join(map(stream.decode, ids)) == text
