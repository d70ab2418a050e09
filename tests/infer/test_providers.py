import ctypes
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from charlm.data.errors import ProviderError, SettingsError
from charlm.infer import providers
from charlm.infer.providers import Choice

CHATTER = "Failed to load libcudnn.so.9"


class Driver:
    """NVIDIA's driver, with any number of devices, or an error."""

    def __init__(self, devices: int = 1, init: int = 0, count: int = 0) -> None:
        self.devices, self.init, self.count = devices, init, count

    def cuInit(self, flags: int) -> int:
        assert flags == 0
        return self.init

    def cuDeviceGetCount(self, number: Any) -> int:
        number._obj.value = self.devices
        return self.count


class Machine:
    """What `choose` looks at: a build of ONNX Runtime, a driver, and the CUDA libraries."""

    def __init__(
        self,
        folder: Path,
        *,
        driver: Driver | None = None,
        missing: str | None = None,
        build: tuple[str, ...] = (providers.CUDA, providers.CPU),
    ) -> None:
        self.driver, self.missing = driver, missing
        self.loaded: list[str] = []
        self.preloaded = 0
        package = folder / "onnxruntime"
        (package / "capi").mkdir(parents=True)
        (package / "capi" / "libonnxruntime_providers_shared.so").touch()
        self.runtime = SimpleNamespace(
            __file__=str(package / "__init__.py"),
            get_available_providers=lambda: list(build),
            preload_dlls=self.preload,
        )

    def preload(self) -> None:
        self.preloaded += 1
        print(CHATTER)

    def load(self, name: str, mode: int = 0) -> Any:
        self.loaded.append(Path(name).name)
        if name in ("libcuda.so.1", "nvcuda.dll"):
            if self.driver is None:
                raise OSError("no such library")
            return self.driver
        if self.missing and "providers_cuda" in name:
            raise OSError(f"{self.missing}: cannot open shared object file\nand more")
        return SimpleNamespace()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def build(**parts: Any) -> Machine:
        made = Machine(tmp_path, **parts)
        monkeypatch.setattr(ctypes, "CDLL", made.load)
        return made

    return build


def test_cpu_looks_at_nothing(machine: Any) -> None:
    made = machine(driver=Driver())
    assert providers.choose("cpu", made.runtime) == Choice("cpu")
    assert not made.loaded
    assert not made.preloaded


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_a_whole_installation_runs_cuda(
    machine: Any, wanted: str, capfd: pytest.CaptureFixture[str]
) -> None:
    made = machine(driver=Driver())
    assert providers.choose(wanted, made.runtime) == Choice("cuda")
    assert made.preloaded == 1
    assert made.loaded[-1].endswith(("providers_cuda.so", "providers_cuda.dll"))
    assert capfd.readouterr() == ("", "")


NO_DEVICE = [
    ({}, "no NVIDIA driver was found"),
    ({"driver": Driver(devices=0)}, "the NVIDIA driver finds no device"),
    ({"driver": Driver(init=100)}, r"finds no usable device \(CUDA error 100\)"),
    ({"driver": Driver(count=3)}, r"finds no usable device \(CUDA error 3\)"),
]
UNUSABLE = [
    ({"driver": Driver(), "build": (providers.CPU,)}, "CPU-only build .install charlm.cuda"),
    (
        {"driver": Driver(), "missing": "libcublasLt.so.13"},
        r"a CUDA library is missing \(install charlm\[cuda\]\): libcublasLt.so.13: cannot open",
    ),
]


@pytest.mark.parametrize(("parts", "reason"), [*NO_DEVICE, *UNUSABLE])
def test_cuda_that_can_not_run_is_an_error_with_the_reason(
    machine: Any, parts: dict[str, Any], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        ProviderError, match=rf"^--provider cuda can't run here: .*{reason}.*; or use .*cpu$"
    ) as raised:
        providers.choose("cuda", machine(**parts).runtime)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(("parts", "reason"), NO_DEVICE)
@pytest.mark.parametrize("build", [(providers.CPU,), (providers.CUDA, providers.CPU)])
def test_auto_is_silent_where_there_is_no_device(
    machine: Any, parts: dict[str, Any], reason: str, build: tuple[str, ...]
) -> None:
    made = machine(**parts, build=build)
    assert providers.choose("auto", made.runtime) == Choice("cpu", None)
    assert not made.preloaded, "CUDA is not touched before a device is found"


@pytest.mark.parametrize(("parts", "reason"), UNUSABLE)
def test_auto_says_why_a_device_is_not_used(
    machine: Any, parts: dict[str, Any], reason: str
) -> None:
    choice = providers.choose("auto", machine(**parts).runtime)
    assert choice.device == "cpu"
    assert choice.note is not None
    assert re.search(reason, choice.note)
    assert choice.note.startswith("an NVIDIA GPU is here but is not used: ")
    assert "\n" not in choice.note


def test_nothing_reaches_stdout_while_libraries_are_looked_for(
    machine: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    made = machine(driver=Driver(), missing="libcudnn.so.9")
    providers.choose("auto", made.runtime)
    assert made.preloaded == 1
    print("still here")
    assert capfd.readouterr().out == "still here\n"


@pytest.mark.parametrize("wanted", ["", "gpu", "CUDA", "cpu "])
def test_an_unknown_provider_is_refused(machine: Any, wanted: str) -> None:
    with pytest.raises(SettingsError, match="--provider is one of auto, cpu, cuda, not"):
        providers.choose(wanted, machine().runtime)


def test_cuda_runs_in_full_float32() -> None:
    assert providers.session_providers("cpu") == ["CPUExecutionProvider"]
    cuda, cpu = providers.session_providers("cuda")
    assert cuda == ("CUDAExecutionProvider", {"use_tf32": "0"})
    assert cpu == "CPUExecutionProvider"
