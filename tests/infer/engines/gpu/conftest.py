"""The two GPUs, models, and what they are asked for."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from charlm.data.text.normalise import NOTEBOOK
from charlm.data.text.vocabulary import Vocabulary
from charlm.export import contract as names
from charlm.export.contract import C, H, Metadata
from charlm.export.contract import native as contract_native
from charlm.infer.model.open import open_model
from charlm.infer.sampling.draw import Sampling
from charlm.infer.sampling.filters import NO_FILTERS, Filters
from charlm.infer.sampling.philox import UniformStream
from tests.infer.engines.gpu.process import Feed, Gpu, Variables
from tests.support.shared import made_once

SOURCES = Path(__file__).parent / "emulated"


def build_driver(folder: Path, *options: str) -> None:
    options = ("-std=c++17", "-O2", "-shared", "-fPIC", "-o", str(folder / "emulated.so"), *options)
    subprocess.run(["g++", *options, str(SOURCES / "driver.cpp"), "-ldl"], check=True)


@pytest.fixture(scope="session")
def emulation(tmp_path_factory: pytest.TempPathFactory) -> Variables:
    """The environment in which charlm finds the emulated GPU."""
    if not sys.platform.startswith("linux"):
        pytest.skip("CUDA is used on Linux only")
    if problem := contract_native.problem():
        pytest.skip(problem)
    if shutil.which("g++") is None:
        pytest.skip("g++ compiles the emulated GPU, and is not here")
    folder = made_once(tmp_path_factory, "emulation", build_driver)
    library = str(folder / "emulated.so")
    return {
        "CHARLM_LIBCUDA": library,
        "CHARLM_LIBNVRTC": library,
        "CHARLM_CACHE": str(folder / "cache"),
        "EMULATED_SOURCES": str(SOURCES),
    }


@pytest.fixture(scope="session")
def emulated(emulation: Variables) -> Iterator[Gpu]:
    gpu = Gpu(False, emulation)
    yield gpu
    gpu.close()


@pytest.fixture
def empty(emulation: Variables) -> Iterator[Gpu]:
    """One of its own, whose memory holds nothing of other tests."""
    gpu = Gpu(False, emulation)
    yield gpu
    gpu.close()


@pytest.fixture(scope="session", params=["emulated", pytest.param("real", marks=pytest.mark.cuda)])
def gpu(request: pytest.FixtureRequest) -> Iterator[Gpu]:
    if request.param == "emulated":
        yield request.getfixturevalue("emulated")
        return
    processors, reason = contract_native.gpu()
    if not processors:
        pytest.skip(reason)
    real = Gpu(True, {})
    yield real
    real.close()


Made = Callable[..., Path]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Writes a random model of so many characters, each as likely as a neighbour, units, layers.

    Its recurrent weights are `scale` times as large as others.
    """
    step_graph = pytest.importorskip("charlm.export.graphs.step_graph", exc_type=ImportError)
    from charlm.export import weights

    folder = tmp_path_factory.mktemp("models")

    def write(size: int, hidden: int, layers: int, scale: float = 1) -> Path:
        path = folder / f"{size}-{hidden}-{layers}-{scale}.onnx"
        if path.exists():
            return path
        random = np.random.RandomState(0)

        def some(*shape: int) -> npt.NDArray[np.float32]:
            values = random.standard_normal(shape) * 2 / np.sqrt(hidden)
            return np.asarray(values, dtype=np.float32)

        upper, gates, twin = range(layers - 1), 4 * hidden, np.arange(size) // 2 * 2
        arrays = weights.Weights(
            table=3 * some(size, 1, gates),
            recurrent=some(hidden, gates) * np.float32(scale),
            stacked=tuple(some(2 * hidden, gates) for _ in upper),
            stacked_bias=tuple(some(gates) for _ in upper),
            head=2 * some(hidden, size)[:, twin],
            head_bias=some(size)[twin],
        )
        metadata = Metadata(
            hidden=hidden,
            layers=layers,
            vocabulary=Vocabulary("".join(map(chr, range(0x20, 0x20 + size)))),
            normalisation=NOTEBOOK,
            initial=(1 / size,) * size,
            weights_sha256=weights.sha256(arrays),
        )
        path.write_bytes(step_graph.build(arrays, metadata))
        return path

    return write


ROOMY = {"CHARLM_CLUSTERS": "1", "EMULATED_PROCESSORS": "24"}  # three clusters of 8, or one of 16
FILTERS = (NO_FILTERS, Filters(3), Filters(top_p=0.7), Filters(min_p=1.0), Filters(4, 0.9, 0.1))


def settings_of(row: int, filtered: bool) -> tuple[float, Filters]:
    """The temperature and the filters of a stream: not all are greedy, and not all have filters."""
    filters = FILTERS[row % len(FILTERS)] if filtered else NO_FILTERS
    return (1.0, 0.5, 0.0, 1.5)[row % 4], filters


def feed_of(path: Path, batch: int, time: int, steps: int, filtered: bool = False) -> Feed:
    """Streams with states, prompts of any length up to `time` and settings of their own."""
    metadata = open_model(path, "cpu").metadata
    size, random = len(metadata.vocabulary), np.random.RandomState(batch)
    h, c = random.standard_normal((2, batch, metadata.layers, metadata.hidden)).astype(np.float32)
    ids = np.uint8 if size <= names.BYTE_VOCABULARY else np.int32
    temperatures, filters = zip(*(settings_of(row, filtered) for row in range(batch)), strict=True)
    numbers = [UniformStream(3, row, row % 9) for row in range(batch)]
    sampling = Sampling.of(list(zip(temperatures, filters, strict=True)), size, numbers)
    return {
        H: np.tanh(h),
        C: 3 * c,
        names.PROMPT: random.randint(0, size, (batch, time)).astype(ids),
        names.LENGTHS: random.randint(0, time + 1, batch),
        names.SCORED: np.array(1),
        names.STEPS: np.array(steps),
        **sampling.inputs(),
    }
