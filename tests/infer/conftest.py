"""A small random model as Torch and as a file, and how two paths of sampling are compared."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import numpy_helper

from charlm.data.system import console
from charlm.data.system.errors import ProviderError
from charlm.data.text.normalise import NOTEBOOK
from charlm.data.text.vocabulary import Vocabulary
from charlm.export import weights
from charlm.export.contract import GENERATE, SEQUENCE, Kind, Metadata, sibling_path
from charlm.export.contract import native as contract_native
from charlm.export.graphs import build_siblings, step_graph
from charlm.infer.cli import gen as cli_gen
from charlm.infer.generator import Generator
from charlm.infer.model import providers
from charlm.infer.model.open import Model, open_model
from charlm.infer.sampling import draw
from charlm.infer.sampling.filters import NO_FILTERS, TOP_P_OFF, Filters, remove_from_one
from charlm.train.config import ModelConfig
from charlm.train.model import CharLSTM

Floats = npt.NDArray[np.float32]
CHARACTERS = " abcdefghijklmnopqrstuvwxyzé"
HIDDEN, LAYERS = 16, 2


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Torch's helpers cost more than they give on models this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random_model(scale: float = 6.0, seed: int = 0) -> CharLSTM:
    random = np.random.RandomState(seed)
    model = CharLSTM(ModelConfig(len(CHARACTERS), HIDDEN, LAYERS))
    for parameter in model.parameters():
        values = random.standard_normal(tuple(parameter.shape)) * scale / np.sqrt(HIDDEN)
        parameter.data = torch.from_numpy(values.astype(np.float32))
    return model.eval()


@pytest.fixture(scope="session")
def small_torch() -> CharLSTM:
    return random_model()


@pytest.fixture(scope="session")
def small_metadata(small_torch: CharLSTM) -> Metadata:
    counts = np.arange(1, len(CHARACTERS) + 1, dtype=np.float64)
    return Metadata(
        hidden=HIDDEN,
        layers=LAYERS,
        vocabulary=Vocabulary(CHARACTERS),
        normalisation=NOTEBOOK,
        initial=tuple((counts / counts.sum()).tolist()),
        weights_sha256=weights.sha256(weights.from_torch(small_torch)),
    )


@pytest.fixture(scope="session")
def small_content(small_torch: CharLSTM, small_metadata: Metadata) -> bytes:
    return step_graph.build(weights.from_torch(small_torch), small_metadata)


@pytest.fixture(scope="session")
def small_path(small_content: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    path.write_bytes(small_content)
    return path


@pytest.fixture(scope="session")
def small(small_path: Path) -> Generator:
    return Generator.open(small_path, "cpu")


@pytest.fixture(scope="session")
def lovecraft() -> Generator:
    """The model that ships: one of random weights rounds so wildly that no two ways agree."""
    return Generator.open("lovecraft", "cpu")


@pytest.fixture(scope="session")
def damaged_path(small_content: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model's file, but that its weights are not numbers."""
    model = onnx.load_model_from_string(small_content)
    for tensor in model.graph.initializer:
        if tensor.name == "recurrent":
            array = np.full_like(numpy_helper.to_array(tensor), np.nan)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    path = tmp_path_factory.mktemp("damaged") / "d.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="session")
def damaged(damaged_path: Path) -> Model:
    """That file opened where the native operator, which would refuse it, was not built."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contract_native, "LIBRARY", damaged_path.parent / "none")
        model = open_model(damaged_path, "cpu")
        assert model.without_native is not None
    return model


Portable = Callable[..., Generator]


@pytest.fixture(scope="session")
def portable() -> Portable:
    """Opens a model as a machine does for which the native operator was not built."""

    def opened(path: Path, **options: Any) -> Generator:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(contract_native, "LIBRARY", path.parent / "none")
            generator = Generator.open(path, "cpu", **options)
            assert generator.model.without_native is not None
        return generator

    return opened


@pytest.fixture(scope="session")
def as_if_on_cuda() -> Callable[[Model], Model]:
    """An open model that takes itself to be on a GPU."""

    def made(model: Model) -> Model:
        return Model(model.path, b"", model.metadata, "cuda")

    return made


@pytest.fixture(scope="session")
def small_whole(
    small_path: Path,
    small_torch: CharLSTM,
    small_metadata: Metadata,
    portable: Portable,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator:
    """The small model without the native operator, but with the graph that reads whole texts."""
    path = tmp_path_factory.mktemp("whole") / "whole.onnx"
    path.write_bytes(small_path.read_bytes())
    write_siblings(path, weights.from_torch(small_torch), small_metadata, SEQUENCE)
    return portable(path)


@pytest.fixture(scope="session", params=["native", "graph", "steps"])
def each_way(
    small: Generator,
    small_whole: Generator,
    small_path: Path,
    portable: Portable,
    request: pytest.FixtureRequest,
) -> Generator:
    """The small model as each of the ways in which whole texts are read."""
    if request.param == "steps":
        return portable(small_path)
    return small if request.param == "native" else small_whole


def write_siblings(path: Path, arrays: weights.Weights, metadata: Metadata, *kinds: Kind) -> None:
    for kind, content in build_siblings(arrays, metadata, kinds).items():
        sibling_path(path, kind).write_bytes(content)


def one_of_each(rows: int, columns: int, random: np.random.RandomState) -> Floats:
    """A matrix with a power of two in each column and nothing else."""
    values = np.zeros((rows, columns), dtype=np.float32)
    places = random.randint(0, rows, columns)
    values[places, np.arange(columns)] = random.choice([-8, -4, -2, 2, 4, 8], columns)
    return values


@pytest.fixture(scope="session")
def exact_weights() -> weights.Weights:
    """A model that rounds alike in every kernel, at every batch size, in every order of addition.

    Each column of its matrices has one weight, a power of two, so that no product and no sum but
    the last is rounded. Its texts are equal or there is a mistake: near-ties don't flip.
    """
    random, size, hidden = np.random.RandomState(5), len(CHARACTERS), 32
    return weights.Weights(
        table=random.standard_normal((size, 1, 4 * hidden)).astype(np.float32) * 3,
        recurrent=one_of_each(hidden, 4 * hidden, random),
        stacked=(),
        stacked_bias=(),
        head=one_of_each(hidden, size, random),
        head_bias=random.standard_normal(size).astype(np.float32),
    )


@pytest.fixture(scope="session")
def exact_metadata(exact_weights: weights.Weights) -> Metadata:
    return Metadata(
        hidden=exact_weights.hidden,
        layers=1,
        vocabulary=Vocabulary(CHARACTERS),
        normalisation=NOTEBOOK,
        initial=(1 / len(CHARACTERS),) * len(CHARACTERS),
        weights_sha256=weights.sha256(exact_weights),
    )


@pytest.fixture(scope="session")
def exact_path(
    exact_weights: weights.Weights,
    exact_metadata: Metadata,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    path = tmp_path_factory.mktemp("exact") / "exact.onnx"
    path.write_bytes(step_graph.build(exact_weights, exact_metadata))
    return path


@pytest.fixture(scope="session")
def exact_with_siblings(
    exact_path: Path,
    exact_weights: weights.Weights,
    exact_metadata: Metadata,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The same model with its portable graphs beside it."""
    path = tmp_path_factory.mktemp("exact_with_siblings") / "exact.onnx"
    path.write_bytes(exact_path.read_bytes())
    write_siblings(path, exact_weights, exact_metadata, GENERATE, SEQUENCE)
    return path


@pytest.fixture(scope="session")
def exact(exact_path: Path) -> Generator:
    return Generator.open(exact_path, "cpu")


@pytest.fixture(scope="session", params=["native", "blocks", "steps"])
def exact_each_way(
    exact: Generator,
    exact_path: Path,
    exact_with_siblings: Path,
    portable: Portable,
    request: pytest.FixtureRequest,
) -> Generator:
    """The same model as each of the ways in which the CPU draws its texts."""
    if request.param == "native":
        return exact
    path = exact_path if request.param == "steps" else exact_with_siblings
    return portable(path, threads=2, via=request.param)


@pytest.fixture(scope="session")
def needs_cuda() -> None:
    """Skips, with the reason, where CUDA can't run."""
    try:
        providers.choose("cuda")
    except ProviderError as reason:
        pytest.skip(str(reason))


Generate = Callable[..., tuple[int, str, list[str]]]
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def cli_model(small_path: Path) -> Path:
    """The model that commands are run with; a file of tests may have another."""
    return small_path


@pytest.fixture
def generate(
    cli_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Generate:
    """Runs `charlm-gen` with that model: its exit code, stdout, and lines on stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, model: Path | None = cli_model) -> tuple[int, str, list[str]]:
        capsys.readouterr()
        named = [] if model is None else ["--model", str(model)]
        code = console.exit_code(cli_gen.app, "charlm-gen", [*map(str, arguments), *named])
        shown = capsys.readouterr()
        return code, shown.out, shown.err.splitlines()

    return run


@pytest.fixture
def start(cli_model: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts `charlm-gen` with that model as a process, in an empty folder."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*arguments: str, before: str = "", **options: Any) -> subprocess.Popen[bytes]:
        code = f"{before}\nfrom charlm.infer.cli.gen import main; main()"
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        pipes["env"] = {**os.environ, "PYTHONIOENCODING": "utf-8"}
        pipes["env"].pop("PYTHONUNBUFFERED", None)
        given = ["charlm-gen", *arguments, "--model", str(cli_model)]
        code = f"import sys; sys.argv = {given!r}\n{code}"
        process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, **(pipes | options))
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait()


@pytest.fixture(scope="session")
def torch_logits() -> Callable[[CharLSTM, str, str], Floats]:
    """Torch's logits before each character of a text that follows a prompt."""

    def read(model: CharLSTM, characters: str, text: str) -> Floats:
        ids = torch.tensor([[characters.index(c)] for c in text])
        with torch.no_grad():
            hidden, _ = model(ids, model.zero_state(1))
            logits: Floats = model.head(hidden[:, 0]).numpy()
        return logits

    return read


def near_a_threshold(weights: Floats, filters: Filters, tolerance: float) -> bool:
    """Whether one of the filters would choose otherwise among weights a little different."""
    top_k, top_p, min_p = filters.limits(len(weights))
    ranked = np.sort(weights.astype(np.float64))[::-1]
    near = False
    if top_k < len(ranked):
        last, next_one = ranked[top_k - 1 : top_k + 1]
        near |= bool(0 < last - next_one <= tolerance * last or last == next_one > 0)
    if top_p < TOP_P_OFF:
        sums = ranked[:top_k].cumsum()
        near |= bool((np.abs(sums - float(top_p) * sums[-1]) <= tolerance * sums[-1]).any())
    if min_p:
        least = float(min_p) * ranked[0]
        near |= bool((np.abs(ranked - least) <= tolerance * least).any())
    return near


@pytest.fixture(scope="session")
def count_flips() -> Callable[..., int]:
    """Compare the characters that one path drew with those that another would have drawn.

    The other path was fed the first one's text. Where it chooses otherwise, the number drawn must
    lie as close to a boundary between the two choices as the design allows, or a filter's
    threshold that close to a character.
    """

    def count(
        logits: Floats,
        drawn: list[int],
        uniforms: Floats,
        temperature: float,
        filters: Filters = NO_FILTERS,
    ) -> int:
        wide = logits.astype(np.float32)
        chosen = draw.Sampler(wide, temperature, filters).draw(uniforms)
        inverse = np.float32(1 / temperature)
        tolerance = 2e-5 * max(1, 1 / temperature)
        flips = np.flatnonzero(chosen != np.array(drawn))
        for place in flips:
            weights = np.exp((wide[place] - wide[place].max()) * inverse)
            explained = near_a_threshold(weights, filters, tolerance)
            remove_from_one(weights, *filters.limits(len(weights)))
            sums = np.cumsum(weights)
            low, high = sorted((int(chosen[place]), drawn[place]))
            gap = np.abs(uniforms[place] * sums[-1] - sums[low:high]).min()
            explained |= bool(gap <= tolerance * sums[-1] and weights[drawn[place]])
            assert explained, f"position {place}"
        return len(flips)

    return count


@pytest.fixture(scope="session")
def chi_square() -> Callable[[npt.ArrayLike, npt.ArrayLike], tuple[float, float]]:
    """Pearson's statistic of counts against probabilities, and its 99.99 % quantile.

    Rare outcomes are counted as one; the quantile is Wilson and Hilferty's (1931).
    """

    def statistic(counts: npt.ArrayLike, shares: npt.ArrayLike) -> tuple[float, float]:
        found, share = np.asarray(counts, np.float64), np.asarray(shares, np.float64)
        wanted = share / share.sum() * found.sum()
        assert not found[wanted == 0].any(), "an impossible outcome"
        rare = wanted < 5
        if rare.any():
            found = np.append(found[~rare], found[rare].sum())
            wanted = np.append(wanted[~rare], wanted[rare].sum())
        keep = wanted > 0
        value = float(((found[keep] - wanted[keep]) ** 2 / wanted[keep]).sum())
        free = int(keep.sum()) - 1
        assert free > 0
        return value, free * (1 - 2 / (9 * free) + 3.719 * np.sqrt(2 / (9 * free))) ** 3

    return statistic
