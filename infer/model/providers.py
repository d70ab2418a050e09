"""Where a model is computed, the CPU or a GPU, and how precisely; if it can't be, the reason."""

from dataclasses import dataclass

from charlm.data.system.errors import ProviderError, SettingsError
from charlm.export.contract import native as contract_native

PROVIDERS = ("auto", "cpu", "cuda")
PRECISIONS = {"float32": ("cpu", "cuda"), "int8": ("cpu",), "fp16": ("cuda",)}  # and who has them
ONLY_ON = {precision: has[0] for precision, has in PRECISIONS.items() if len(has) == 1}
CPU_INSTEAD = "use `provider` cpu"


def check_precision(precision: str, provider: str = "auto") -> None:
    """A precision must be known, and one that the provider has.

    Raises:
        SettingsError: it is not.
    """
    if precision not in PRECISIONS:
        raise SettingsError(f"`precision` is one of {', '.join(PRECISIONS)}, not {precision!r}")
    needed = ONLY_ON.get(precision)
    if needed and provider in PROVIDERS and provider not in ("auto", needed):
        raise SettingsError(f"`precision` {precision} runs with `provider` {needed} only")


@dataclass(frozen=True)
class Choice:
    """The device to use.

    Attributes:
        note: why `auto` passed over a GPU that is there; None where nothing is to be said.
    """

    device: str  # `"cpu"` or `"cuda"`
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
        raise SettingsError(f"`provider` is one of {', '.join(PROVIDERS)}, not {wanted!r}")
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
        raise ProviderError(f"`provider` cuda can't run here: {reason}; or {instead}")
    return Choice("cpu", f"an NVIDIA GPU is here but is not used: {reason}")
