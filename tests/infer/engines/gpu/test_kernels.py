"""What kernels draw is the CPU's: on a GPU that this machine's CPU emulates, and on a real one."""

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from charlm.data.system.errors import ProviderError
from charlm.data.text.corpus import SAMPLE
from charlm.export import contract as names
from charlm.export.contract import C_NEXT, H_NEXT, LOGITS, C, H
from charlm.infer.model.shipped import shipped_model
from charlm.infer.request import Request
from charlm.infer.sampling.philox import UniformStream
from tests.infer.engines.gpu.conftest import FILTERS, ROOMY, Made, feed_of, settings_of
from tests.infer.engines.gpu.process import Feed, Gpu, Variables, bits, bits_in_segments, run, texts

OUTPUTS = (names.LOG_PROBABILITY, LOGITS, H_NEXT, C_NEXT)  # beside the characters


def assert_close(found: Feed, wanted: Feed, share: float) -> None:
    """Each row's largest error is at most a share of max(1, the largest magnitude there)."""
    for name in OUTPUTS:
        size = np.abs(wanted[name]).reshape(len(wanted[name]), -1).max(axis=1).clip(1)
        error = np.abs(found[name] - wanted[name]).reshape(len(size), -1).max(axis=1)
        assert (error <= share * size).all(), f"{name}: {(error / size).max()}"


# A share for `assert_close`. In NumPy, 17,001 streams of 192 units were off by 0.0013 after five
# characters in fp16, and by 0.0021 with a tanh that is off by up to 2^-11, as a GPU's is.
HALF_PRECISION = 0.005


def parted(
    path: Path, feed: Feed, found: Feed, wanted: Feed, filtered: bool, count_flips: Any
) -> npt.NDArray[np.bool_]:
    """Which rows have other characters than the CPU's from somewhere on, each from a near-tie."""
    differs = found[names.TOKENS] != wanted[names.TOKENS]
    for row in np.flatnonzero(differs.any(axis=1)).tolist():
        at = int(differs[row].argmax())
        alone = {name: each[row : row + 1] if each.ndim else each for name, each in feed.items()}
        before = run(path, "cpu", "float32", alone | {names.STEPS: np.array(at)})[0]
        place = int(feed[names.POSITION][row]) + at
        uniform = next(itertools.islice(UniformStream(3, row), place, None))
        drawn = [int(found[names.TOKENS][row, at])]
        temperature, filters = settings_of(row, filtered)
        assert count_flips(before[LOGITS], drawn, np.array([uniform]), temperature, filters) == 1
    return np.asarray(differs.any(axis=1))


OFF_CHIP = {"EMULATED_SHARED": str(48 << 10)}
CASES = [
    pytest.param((28, 17, 1), 1, False, {}, id="one"),
    pytest.param((28, 17, 1), 20, False, {"EMULATED_PROCESSORS": "2"}, id="blocks"),
    pytest.param((70, 40, 3), 35, True, {}, id="layers"),
    pytest.param((70, 40, 3), 9, True, OFF_CHIP, id="state-off-chip"),
    pytest.param((300, 25, 3), 17, True, {}, id="wide"),
    pytest.param((257, 16, 1), 65, True, {}, id="many"),
]


@pytest.mark.parametrize(("model", "batch", "filtered", "variables"), CASES)
def test_a_run_is_that_of_the_cpu(
    gpu: Gpu,
    made: Made,
    count_flips: Any,
    model: tuple[int, int, int],
    batch: int,
    filtered: bool,
    variables: Variables,
) -> None:
    """Characters but for near-ties, what follows on them, and the probabilities of what is read."""
    path = made(*model)
    feed = feed_of(path, batch, time=5, steps=7, filtered=filtered)
    (wanted,) = run(path, "cpu", "float32", feed)
    (found,) = gpu(run, path, "cuda", "float32", feed, variables=variables)
    assert_same(path, feed, found, wanted, filtered, count_flips, 1e-4 if gpu.real else 1e-5)


def assert_same(
    path: Path,
    feed: Feed,
    found: Feed,
    wanted: Feed,
    filtered: bool,
    count_flips: Any,
    share: float,
) -> None:
    """But for one stream, which may have met a near-tie."""
    same = ~parted(path, feed, found, wanted, filtered, count_flips)
    assert same.sum() >= len(same) - 1
    found, wanted = ({name: each[name][same] for name in OUTPUTS} for each in (found, wanted))
    assert_close(found, wanted, share)


def with_shared(kilobytes: int) -> Variables:
    return ROOMY | {"EMULATED_SHARED": str(kilobytes << 10)}


def launched(file: Path) -> list[tuple[str, int, int]]:
    """Of each launch the kernel, how many clusters, and of how many blocks."""
    lines = [line.replace(":", "").split() for line in file.read_text().splitlines()]
    return [(kernel, int(clusters), int(blocks)) for kernel, clusters, _, blocks, *_ in lines]


ON_CLUSTERS = [
    pytest.param((28, 17, 1), 3, "float32", 7, 8, ROOMY, id="units-to-spare"),
    pytest.param((5, 96, 2), 3, "float32", 7, 8, ROOMY, id="layers"),
    pytest.param((300, 25, 3), 2, "float32", 4, 8, ROOMY, id="wide"),
    pytest.param((5, 320, 1), 1, "float32", 2, 8, ROOMY, id="recurrent-in-shared-memory"),
    pytest.param((200, 96, 1), 1, "float32", 3, 8, with_shared(170), id="table-off-chip"),
    pytest.param((5, 192, 3), 1, "float32", 3, 16, ROOMY, id="large"),
    pytest.param((62, 192, 1), 1, "fp16", 5, 8, ROOMY, id="half-precision"),
]
# Characters; units and streams here, and on a real GPU as many as let it do the same; how many
# clusters at once; how it is launched then.
PERSISTENT = [
    pytest.param(28, (17, 20), (17, 20), 1, "1 x 1 blocks of 128", ROOMY, id="one-block"),
    pytest.param(28, (50, 200), (192, 17_001), 1, "2 x 2 blocks of 256", with_shared(30), id="two"),
    pytest.param(
        28, (50, 130), (192, 5_000), 3, "3 x 2 blocks of 128", with_shared(30), id="small"
    ),
    pytest.param(28, (50, 20), (250, 20), 1, "1 x 4 blocks of 128", with_shared(26), id="four"),
    pytest.param(70, (192, 20), (192, 20), 1, "1 x 2 blocks of 128", ROOMY, id="table-off-chip"),
]


@pytest.mark.parametrize(
    ("model", "batch", "precision", "steps", "blocks", "variables"), ON_CLUSTERS
)
def test_a_run_alone_on_clusters_is_that_of_the_cpu(
    gpu: Gpu,
    made: Made,
    count_flips: Any,
    tmp_path: Path,
    model: tuple[int, int, int],
    batch: int,
    precision: str,
    steps: int,
    blocks: int,
    variables: Variables,
) -> None:
    """With filters, past a place where random words are made anew; then nothing is drawn."""
    path = made(*model)
    feed = feed_of(path, batch, time=5, steps=steps, filtered=True)
    feed[names.POSITION] += 126
    feeds = [feed, feed | {names.STEPS: np.array(0)}]
    wanted = run(path, "cpu", "float32", *feeds)
    launches = tmp_path / "launches"
    own = variables | {"EMULATED_LAUNCHES": str(launches)}
    found = on_clusters(gpu, path, precision, *feeds, variables=own)
    assert gpu.real or launched(launches) == 2 * [("charlm_alone", batch, blocks)]
    if precision == "fp16":
        assert (found[0][names.TOKENS] == wanted[0][names.TOKENS]).mean() > 0.7
        assert_close(found[1], wanted[1], HALF_PRECISION)
        return
    for each in zip(feeds, found, wanted, strict=True):
        assert_same(path, *each, True, count_flips, 1e-4 if gpu.real else 1e-5)


@pytest.mark.parametrize(
    ("characters", "here", "there", "clusters", "launch", "variables"), PERSISTENT
)
def test_a_run_of_the_persistent_kernel_is_close_to_that_of_the_cpu(
    gpu: Gpu,
    made: Made,
    tmp_path: Path,
    characters: int,
    here: tuple[int, int],
    there: tuple[int, int],
    clusters: int,
    launch: str,
    variables: Variables,
) -> None:
    """The first cluster's prompts are shorter than those of others."""
    units, batch = there if gpu.real else here
    path, launches = made(characters, units, 1), tmp_path / "launches"
    feed = feed_of(path, batch, time=5, steps=6, filtered=True)
    feed[names.LENGTHS][:64] //= 2
    read = feed | {names.STEPS: np.array(0)}
    (wanted, wanted_read) = run(path, "cpu", "float32", feed, read)
    own = {"EMULATED_LAUNCHES": str(launches), "EMULATED_CLUSTERS": str(clusters)}
    found, found_read = on_clusters(gpu, path, "fp16", feed, read, variables=variables | own)
    line = f"charlm_persistent: {launch} threads"
    assert gpu.real or launches.read_text().splitlines() == 2 * [line]
    assert_close(found_read, wanted_read, HALF_PRECISION)
    assert (found[names.TOKENS] == wanted[names.TOKENS]).mean() > 0.9


@pytest.mark.parametrize(
    ("layers", "precision", "variables"),
    [
        pytest.param(2, "fp16", {}, id="layers"),
        pytest.param(1, "float32", {}, id="precision"),
        pytest.param(1, "fp16", {"EMULATED_ARCHITECTURE": "100"}, id="architecture"),
        pytest.param(1, "fp16", {"CHARLM_CLUSTERS": "0"}, id="not-asked-for"),
    ],
)
def test_where_weights_can_not_stay_many_streams_have_the_usual_kernel(
    emulated: Gpu,
    made: Made,
    tmp_path: Path,
    layers: int,
    precision: str,
    variables: Variables,
) -> None:
    path, launches = made(28, 17, layers), tmp_path / "launches"
    own = ROOMY | {"EMULATED_LAUNCHES": str(launches)} | variables
    (found,) = emulated(run, path, "cuda", precision, feed_of(path, 20, 2, 1), variables=own)
    assert LOGITS in found
    assert [kernel for kernel, *_ in launched(launches)] == ["charlm_run"]


@pytest.mark.parametrize(
    ("batch", "variables"),
    [
        pytest.param(20, {}, id="passing"),
        pytest.param(20, ROOMY, id="persistent"),
        pytest.param(1, ROOMY, id="alone"),
    ],
)
def test_numbers_that_are_not_finite_are_told(
    gpu: Gpu, made: Made, batch: int, variables: Variables
) -> None:
    """Weights that are too large for fp16."""
    path = made(28, 18, 1, 1e6)
    feed = feed_of(path, batch, 3, 2)
    (said,) = on_clusters(gpu, path, "fp16", feed, variables=variables)
    assert "the model gives numbers that are not finite: its weights are damaged" in said


def on_clusters(gpu: Gpu, path: Path, precision: str, *feeds: Feed, variables: Variables) -> Any:
    """As `run`, twice and alike to the bit on a real GPU, whose threads come in any order.

    It may have no clusters, none of 16 blocks, or too little room in them.
    """
    turns = 2 if gpu.real else 1
    try:
        found = gpu(run, path, "cuda", precision, *(turns * feeds), variables=variables)
    except ProviderError as refusal:
        lacks = ("capability 9.0", "too large", "of 16 blocks has room")
        if gpu.real and any(each in str(refusal) for each in lacks):
            pytest.skip(str(refusal))
        raise
    for one, other in zip(found, found[len(feeds) :], strict=False):
        np.testing.assert_equal(other, one)
    return found[: len(feeds)]


@pytest.mark.parametrize(
    ("model", "batch", "precision", "variables"),
    [
        pytest.param((28, 17, 1), 20, "float32", {"EMULATED_PROCESSORS": "2"}, id="blocks"),
        pytest.param((70, 40, 3), 9, "float32", {}, id="layers"),
        pytest.param((70, 40, 3), 9, "fp16", OFF_CHIP, id="state-off-chip"),
        pytest.param((257, 16, 1), 65, "fp16", {}, id="two-tiles"),
        pytest.param((28, 17, 1), 2, "float32", ROOMY, id="cluster"),
        pytest.param((5, 96, 2), 1, "fp16", ROOMY, id="cluster-of-layers"),
        pytest.param((28, 50, 1), 70, "fp16", with_shared(30), id="persistent-of-two"),
        pytest.param((28, 50, 1), 20, "fp16", with_shared(26), id="persistent-of-four"),
    ],
)
def test_a_run_is_the_same_to_the_bit_in_whatever_order_its_threads_come(
    emulated: Gpu,
    made: Made,
    model: tuple[int, int, int],
    batch: int,
    precision: str,
    variables: Variables,
) -> None:
    """Another result would come of threads, or of copies beside them, that wait for too little."""
    path = made(*model)
    scored = feed_of(path, batch, time=3, steps=4)
    feeds = (scored, scored | {names.SCORED: np.array(0)})
    wanted = emulated(run, path, "cuda", precision, *feeds, variables=variables)
    own = variables | {"EMULATED_DISORDER": "1"}
    found = emulated(run, path, "cuda", precision, *(2 * feeds), variables=own)
    assert [type(each) for each in (*wanted, *found)] == 6 * [dict]
    for one, other in zip(found, 2 * wanted, strict=True):
        for name, each in other.items():
            np.testing.assert_array_equal(one[name], each, err_msg=name)


def test_more_streams_than_clusters_have_the_other_kernel(
    emulated: Gpu, made: Made, tmp_path: Path
) -> None:
    path, launches = made(28, 17, 1), tmp_path / "launches"
    own = ROOMY | {"EMULATED_CLUSTERS": "1", "EMULATED_LAUNCHES": str(launches)}
    feeds = [feed_of(path, batch, 2, 1) for batch in (1, 2)]
    found = emulated(run, path, "cuda", "float32", *feeds, variables=own)
    assert all(LOGITS in each for each in found)
    assert launched(launches) == [("charlm_alone", 1, 8), ("charlm_run", 1, 1)]


def test_texts_that_end_and_begin_side_by_side_are_those_of_the_cpu(gpu: Gpu, made: Made) -> None:
    path = made(70, 40, 3)
    requests = [
        Request(
            "12+34=46, 56"[: row % 12], length=5 + 3 * (row % 4), seed=2, sample=row, **vars(each)
        )
        for row, each in zip(range(11), itertools.cycle(FILTERS), strict=False)
    ]
    wanted = texts(path, "cpu", requests, 4)
    assert gpu(texts, path, "cuda", requests, 4) == wanted
    assert [len(text) for text in wanted[:-1]] == [each.length for each in requests]


def test_a_run_of_too_many_characters_is_refused(emulated: Gpu, made: Made) -> None:
    path = made(28, 17, 1)
    feed = feed_of(path, 1, 1, 0) | {names.STEPS: np.array((1 << 30) - 1)}
    (said,) = emulated(run, path, "cuda", "float32", feed)
    assert "2^30 characters in one run: ask for fewer" in said


def test_half_precision_is_close(gpu: Gpu, made: Made) -> None:
    """Of so many streams that a warp of the emulated GPU has two tiles."""
    path = made(300, 25, 3)
    feed = feed_of(path, 50, time=4, steps=3)
    read = feed | {names.STEPS: np.array(0)}
    wanted, wanted_read = run(path, "cpu", "float32", feed, read)
    found, found_read = gpu(run, path, "cuda", "fp16", feed, read)
    assert_close(found_read, wanted_read, HALF_PRECISION)
    assert (found[names.TOKENS] == wanted[names.TOKENS]).mean() > 0.95


# ---- The model that ships; the emulated GPU does a little of what a real one does


@pytest.fixture(scope="module")
def shipped() -> Path:
    return shipped_model()


@pytest.mark.parametrize(
    ("batch", "steps", "variables"), [(300, 200, {}), (8, 2000, ROOMY)], ids=["blocks", "alone"]
)
def test_texts_of_the_shipped_model_are_those_of_the_cpu(
    gpu: Gpu, shipped: Path, count_flips: Any, batch: int, steps: int, variables: Variables
) -> None:
    time = 40
    if not gpu.real:
        batch, time, steps = 3, 4, 5
    feed = feed_of(shipped, batch, time, steps)
    feed |= {H: np.zeros_like(feed[H]), C: np.zeros_like(feed[C])}
    if variables:
        feed[names.LENGTHS] = np.full(batch, time)
    (wanted,) = run(shipped, "cpu", "float32", feed)
    (found,) = on_clusters(gpu, shipped, "float32", feed, variables=variables)
    assert parted(shipped, feed, found, wanted, False, count_flips).sum() <= batch * steps / 10_000


def test_states_after_a_long_text_are_those_of_the_cpu(gpu: Gpu, shipped: Path) -> None:
    batch, time = (64, 1000) if gpu.real else (2, 20)
    feed = feed_of(shipped, batch, time, 0) | {names.LENGTHS: np.full(batch, time)}
    (wanted,) = run(shipped, "cpu", "float32", feed)
    (found,) = gpu(run, shipped, "cuda", "float32", feed)
    assert_close(found, wanted, 1e-3)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 5e-5), ("fp16", 0.01)])
def test_a_text_takes_as_many_bits_as_on_the_cpu(
    gpu: Gpu, shipped: Path, precision: str, tolerance: float
) -> None:
    text = SAMPLE.read_text(encoding="utf-8")[: 20_000 if gpu.real else 40]
    wanted = bits(shipped, "cpu", "float32", text)
    assert gpu(bits, shipped, "cuda", precision, text) == pytest.approx(wanted, abs=tolerance)


def test_a_text_in_segments_takes_as_many_bits_by_the_persistent_kernel(
    gpu: Gpu, shipped: Path, tmp_path: Path
) -> None:
    text = SAMPLE.read_text(encoding="utf-8")[: 20_000 if gpu.real else 200]
    wanted = bits_in_segments(shipped, "cpu", "float32", text)
    launches = tmp_path / "launches"
    own = ROOMY | {"EMULATED_LAUNCHES": str(launches)}
    found = gpu(bits_in_segments, shipped, "cuda", "fp16", text, variables=own)
    assert found == pytest.approx(wanted, abs=0.01)
    assert gpu.real or launched(launches)[0][0] == "charlm_persistent"


def command(gpu: Gpu, *arguments: object) -> tuple[str, list[str]]:
    """What `charlm-gen` writes with this GPU, and its lines on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "charlm.infer.cli.gen", *map(str, arguments)],
        env=os.environ | gpu.variables,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.splitlines()


def test_the_command_runs_on_the_gpu(gpu: Gpu, made: Made, generate: Any) -> None:
    path = made(28, 17, 1)
    asked = ["+,-", "--samples", 20, "--length", 12, "--seed", 1]
    text, said = command(gpu, *asked, "--model", path, "--provider", "cuda", "--explain")
    assert (0, text) == generate(*asked, "--provider", "cpu", model=path)[:2]
    assert said[:2] == [
        "charlm-gen: provider: cuda",
        "charlm-gen: path: native operator, on the GPU",
    ]
    assert any(f"{path}, cuda, seed 1" in line for line in said)


def test_auto_leaves_one_text_to_the_cpu(gpu: Gpu, made: Made) -> None:
    text, said = command(gpu, "+", "--model", made(28, 17, 1), "--length", 9, "--seed", 1)
    assert len(text) == len("+") + 9 + len("\n")
    assert any(", cpu, seed 1" in line for line in said)
