"""Where a model is computed: the CPU or a GPU; and if a GPU can't be used, the reason."""

from dataclasses import dataclass

from charlm.data.system.errors import ProviderError, SettingsError
from charlm.export import contract_native

PROVIDERS = ("auto", "cpu", "cuda")
CPU_INSTEAD = "use --provider cpu"


@dataclass(frozen=True)
class Choice:
    """The device to use.

    Attributes:
        device: `"cpu"` or `"cuda"`.
        note: why `auto` passed over a GPU that is there; None where nothing is to be said.
    """

    device: str
    note: str | None = None


def choose(wanted: str, instead: str = CPU_INSTEAD) -> Choice:
    """Settle which device computes.

    `auto` is silent where there is no GPU.

    Args:
        wanted: one of `PROVIDERS`.
        instead: what to do where CUDA can't run, for the message.

    Raises:
        SettingsError: `wanted` is none of them.
        ProviderError: CUDA was asked for and can't run; the message says why.
    """
    if wanted not in PROVIDERS:
        raise SettingsError(f"--provider is one of {', '.join(PROVIDERS)}, not {wanted!r}")
    if wanted == "cpu":
        return Choice("cpu")
    reason = contract_native.problem()
    if reason is None:
        processors, reason = contract_native.gpu()
        if processors:
            return Choice("cuda")
    return Choice("cpu") if wanted == "auto" else without_cuda(wanted, reason, instead)


def without_cuda(wanted: str, reason: str, instead: str = CPU_INSTEAD) -> Choice:
    """What `auto` falls back to where there is a GPU that can't be used.

    Raises:
        ProviderError: `wanted` is `cuda`, which never falls back.
    """
    if wanted == "cuda":
        raise ProviderError(f"--provider cuda can't run here: {reason}; or {instead}")
    return Choice("cpu", f"an NVIDIA GPU is here but is not used: {reason}")
