"""What is missing is said in a line, and what a GPU has not is the CPU's."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

from charlm.data.system.errors import ModelFileError, ProviderError, SettingsError
from charlm.export import contract as names
from charlm.infer.request import Request
from tests.infer.engines.gpu.conftest import ROOMY, Made, build_driver, feed_of
from tests.infer.engines.gpu.process import (
    Gpu,
    Variables,
    bits,
    device_and_note,
    predict,
    predictions,
    run,
    texts,
)

NOT_KEPT = {"CHARLM_CACHE": "/dev/null"}  # nor written: it is no folder
UNUSABLE = {
    "NVRTC": (
        28,
        NOT_KEPT | {"EMULATED_VERSION": "10020"},
        "NVRTC, NVIDIA's compiler, is not there for this driver, of CUDA 10: "
        "pip install nvidia-cuda-nvrtc-cu10",
    ),
    "memory": (28, {"EMULATED_MEMORY": "1000"}, "no memory on an emulated GPU for the model"),
    "source": (
        28,
        NOT_KEPT | {"EMULATED_SOURCES": "/none"},
        "NVRTC can't compile the kernel for sm_90: error 6",
    ),
    "clusters": (
        28,
        ROOMY | {"EMULATED_ARCHITECTURE": "89"},
        "no clusters on an emulated GPU, since compute capability 9.0 or later is needed: "
        "unset CHARLM_CLUSTERS",
    ),
    "room": (
        28,
        ROOMY | {"EMULATED_CLUSTERS": "0"},
        "no clusters on an emulated GPU, since no cluster of 8 blocks has room",
    ),
    "version": (
        28,
        ROOMY | {"EMULATED_VERSION": "12000", "EMULATED_NVRTC": "12"},
        "no clusters on an emulated GPU, since a driver of CUDA 12.1 or later is needed",
    ),
    "size": (400, ROOMY, "no clusters on an emulated GPU, since the model is too large"),
}


@pytest.mark.parametrize("lacks", UNUSABLE)
def test_a_gpu_that_can_not_be_used_is_an_error_and_auto_says_why(
    emulated: Gpu, made: Made, lacks: str
) -> None:
    size, variables, reason = UNUSABLE[lacks]
    path = made(size, 17, 1)
    with pytest.raises(ProviderError) as raised:
        emulated(device_and_note, path, "cuda", variables=variables)
    assert str(raised.value).startswith(f"`provider` cuda can't run here: {reason}")
    assert "\n" not in str(raised.value)
    device, note = emulated(device_and_note, path, "auto", variables=variables)
    assert device == "cpu"
    assert note.startswith(f"an NVIDIA GPU is here but is not used: {reason}")


def test_a_driver_that_knows_no_clusters_is_told_and_has_the_other_kernel(
    emulation: Variables, made: Made, tmp_path: Path
) -> None:
    build_driver(tmp_path, "-DcuOccupancyMaxActiveClusters=unknown")
    gpu = Gpu(False, emulation | {"CHARLM_LIBCUDA": str(tmp_path / "emulated.so")})
    with contextlib.closing(gpu):
        with pytest.raises(ProviderError, match="since a driver of CUDA 12"):
            gpu(device_and_note, made(28, 17, 1), "cuda", variables=ROOMY)
        assert gpu(device_and_note, made(28, 17, 1), "cuda") == ("cuda", None)


NO_GPU = {
    "driver": ({"CHARLM_LIBCUDA": "/none"}, "no NVIDIA driver: libcuda.so.1 can't be opened"),
    "functions": ({"CHARLM_LIBCUDA": "libc.so.6"}, "the NVIDIA driver is too old"),
    "device": ({"EMULATED_DEVICES": "0"}, "the NVIDIA driver finds no device"),
    "capability": (
        {"EMULATED_ARCHITECTURE": "70"},
        "an emulated GPU is too old: compute capability 7.5 or later is needed",
    ),
}


@pytest.mark.parametrize("lacks", NO_GPU)
def test_without_a_gpu_cuda_is_an_error_and_auto_is_silent(
    emulation: Variables, made: Made, lacks: str
) -> None:
    path, (variables, reason) = made(28, 17, 1), NO_GPU[lacks]
    other = Gpu(False, emulation | variables)
    try:
        with pytest.raises(ProviderError) as raised:
            other(device_and_note, path, "cuda")
        line = f"`provider` cuda can't run here: {reason}; or use `provider` cpu"
        assert str(raised.value) == line
        assert other(device_and_note, path, "auto") == ("cpu", None)
    finally:
        other.close()


def test_int8_is_the_cpus(emulated: Gpu, made: Made) -> None:
    with pytest.raises(SettingsError, match="`precision` int8 runs with `provider` cpu only"):
        emulated(bits, made(28, 17, 1), "cuda", "int8", "+,-")


def test_streams_without_memory_are_refused_and_fewer_run_then(empty: Gpu, made: Made) -> None:
    path = made(28, 17, 1)
    few, many = (feed_of(path, batch, 6, 3) for batch in (2, 8000))
    refusal, found = empty(
        run, path, "cuda", "float32", many, few, variables={"EMULATED_MEMORY": str(1 << 18)}
    )
    assert "CharLSTM: no memory on an emulated GPU for 3 MiB: give a smaller --width" in refusal
    (wanted,) = run(path, "cpu", "float32", few)
    np.testing.assert_array_equal(found[names.TOKENS], wanted[names.TOKENS])


def test_all_log_probabilities_are_the_cpus(emulated: Gpu, made: Made) -> None:
    path = made(28, 17, 1)
    (refusal,) = emulated(
        run, path, "cuda", "float32", feed_of(path, 2, 6, 3) | {names.SCORED: np.array(2)}
    )
    assert "a GPU gives no log_probabilities: ask a session on the CPU" in refusal
    with pytest.raises(ModelFileError, match=r"^a GPU gives no log_probabilities: ask"):
        emulated(predict, path, "cuda")
    found = emulated(predictions, path, "cuda", "+,-")
    np.testing.assert_array_equal(found, predictions(path, "cpu", "+,-"))


def test_a_kernel_that_only_takes_its_time_measures_the_host(emulated: Gpu, made: Made) -> None:
    path, request = made(28, 17, 1), Request("1+1", length=40, seed=1)
    drawn = emulated(texts, path, "cuda", [request] * 3, 3, variables={"EMULATED_RATE": "1e6"})
    assert [len(text) for text in drawn] == [40] * 4
    assert drawn != texts(path, "cpu", [request] * 3, 3)
