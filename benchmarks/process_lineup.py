"""Which whole processes are measured, and which two of them make a goal."""

from dataclasses import replace

from charlm.benchmarks import lineup, processes
from charlm.benchmarks.processes import Process
from charlm.benchmarks.results import NOTEBOOK
from charlm.benchmarks.settings import CaseSettings

PAIR = ("charlm_gen_100", "import_onnxruntime")
ROUNDS = 2  # rounds of whole processes for each round of trials: they are short and noisy
SLOW_ROUNDS = 5  # of whole processes that take seconds to start


def whole_processes(settings: CaseSettings, cuda: bool, with_slow: bool = True) -> list[Process]:
    """The commands that are measured from their start to their end.

    Args:
        settings: what their cases are told.
        cuda: CUDA takes part.
        with_slow: take in those that start for many seconds.
    """
    cores = settings.threads

    def first(name: str, title: str, case: str) -> Process:
        command = processes.first_character(lineup.case(case).target, settings)
        return Process(name, title, command, case, SLOW_ROUNDS, cores)

    def plain(name: str, title: str, command: tuple[str, ...], case: str | None = None) -> Process:
        return Process(name, title, command, case, cores=cores)

    found = [
        plain("python", "python -c pass", processes.python("pass")),
        plain(PAIR[1], "python -c 'import onnxruntime'", processes.python("import onnxruntime")),
        plain(PAIR[0], "charlm-gen --length 100", processes.charlm_gen(settings, 100)),
        plain(
            "charlm_gen_1", "charlm-gen --length 1", processes.charlm_gen(settings, 1),
            "charlm_stream",
        ),
        first("first_torch_step", "Torch step loop, first character", "torch_step"),
        first("first_openvino", "OpenVINO step loop, first character", "openvino_step"),
        first("first_litert", "LiteRT step loop, first character", "litert_step"),
        first("first_keras", "notebook, first character", NOTEBOOK),
    ]  # fmt: skip
    if cuda:
        command = processes.charlm_gen(replace(settings, provider="cuda"), 1)
        title = "charlm-gen --length 1 on CUDA"
        found.append(
            Process("charlm_gen_1_cuda", title, command, "charlm_stream_cuda", SLOW_ROUNDS)
        )
    slow = {case.name for case in lineup.CASES if case.slow}
    return [each for each in found if with_slow or each.case not in slow]
