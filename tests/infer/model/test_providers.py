"""Which device is chosen, and what is said of a GPU that can't be used."""

from collections.abc import Callable

import pytest

from charlm.data.system.errors import ProviderError, SettingsError
from charlm.export.contract import native as contract_native
from charlm.infer.model import providers
from charlm.infer.model.providers import Choice

Machine = Callable[..., None]
NOT_BUILT = "the native operator was not built"
NO_DRIVER = "no NVIDIA driver: libcuda.so.1 can't be opened"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Makes `choose` see an operator, or why there is none, and a GPU, or why there is none."""

    def seen(problem: str | None = None, gpu: tuple[int, str] = (132, "a GPU")) -> None:
        monkeypatch.setattr(contract_native, "problem", lambda: problem)
        monkeypatch.setattr(
            contract_native, "gpu", lambda: pytest.fail("no library") if problem else gpu
        )

    return seen


def test_the_cpu_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("problem", "gpu"):
        monkeypatch.setattr(contract_native, name, lambda: pytest.fail("a GPU was looked for"))
    assert providers.choose("cpu") == Choice("cpu")


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_a_gpu_is_taken(machine: Machine, wanted: str) -> None:
    machine()
    assert providers.choose(wanted) == Choice("cuda")


@pytest.mark.parametrize(
    ("parts", "reason"),
    [({"problem": NOT_BUILT}, NOT_BUILT), ({"gpu": (0, NO_DRIVER)}, NO_DRIVER)],
)
def test_where_there_is_none_auto_is_silent_and_cuda_an_error_with_the_reason(
    machine: Machine, parts: dict[str, object], reason: str
) -> None:
    machine(**parts)
    assert providers.choose("auto") == Choice("cpu", None)
    with pytest.raises(ProviderError) as raised:
        providers.choose("cuda")
    said = f"`provider` cuda can't run here: {reason}; or use `provider` cpu"
    assert str(raised.value) == said


def test_auto_says_why_a_gpu_is_not_used() -> None:
    note = "an NVIDIA GPU is here but is not used: too old"
    assert providers.without_cuda("auto", "too old") == Choice("cpu", note)
    with pytest.raises(ProviderError, match="can't run here: too old; or use `provider` cpu"):
        providers.without_cuda("cuda", "too old")


@pytest.mark.skipif(contract_native.problem() is not None, reason=str(contract_native.problem()))
def test_this_machine_has_a_gpu_or_says_why_not() -> None:
    processors, said = contract_native.gpu()
    assert processors >= 0
    assert said
    assert "\n" not in said


@pytest.mark.parametrize("wanted", ["", "gpu", "CUDA", "cpu "])
def test_an_unknown_provider_is_refused(wanted: str) -> None:
    with pytest.raises(SettingsError, match="`provider` is one of auto, cpu, cuda, not"):
        providers.choose(wanted)
