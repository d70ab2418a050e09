"""Torch: a step loop with the state carried, eager or compiled.

The step is as lean as Torch allows: the input product and its biases are a row of a table, the
rest one `addmm` a layer. It took 25 µs at batch 1, where `CharLSTM.step` took 41. Of the
compiler's options, the C++ wrapper was fastest, and its guards are looked at once.
"""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from charlm.benchmarks.cases.common import Arrays, load_weights, lstm_layers, run_of_steps
from charlm.benchmarks.harness.settings import CaseFailedError, CaseSettings, Run
from charlm.data.system.cores import usable_cores
from charlm.data.system.extras import require

if TYPE_CHECKING:
    from torch import Tensor


def step(settings: CaseSettings) -> Run:
    """A step for each character, eager.

    Raises:
        MissingExtraError: Torch is not installed.
    """
    return _run(settings, compiled=False)


def compiled_step(settings: CaseSettings) -> Run:
    """A step for each character, by `torch.compile`.

    Raises:
        CaseFailedError: there is no C++ compiler.
        MissingExtraError: Torch is not installed.
    """
    return _run(settings, compiled=True)


def _run(settings: CaseSettings, compiled: bool) -> Run:
    torch = require("torch", "train")
    torch.set_num_threads(settings.threads or usable_cores())
    arrays, prompt, characters = load_weights(settings)
    function = _lean_step(arrays)
    if compiled:
        function = _compiled(function, arrays, settings)
    return run_of_steps(TorchSteps(function, arrays, settings.batch), prompt, characters, settings)


class TorchSteps:
    """`Steps` by a function (token, [(h, c)]) -> (logits, [(h, c)]) of Torch tensors."""

    def __init__(self, function: Any, arrays: Arrays, batch: int) -> None:
        import torch

        self.token = np.zeros(batch, dtype=np.int64)
        self.logits = np.zeros((batch, len(arrays["head.bias"])), dtype=np.float32)
        token = torch.from_numpy(self.token)
        state = _zero_state(arrays, batch)

        def once() -> None:
            nonlocal state
            with torch.inference_mode():
                answer, state = function(token, state)
            self.logits[:] = answer.numpy()

        self.step = once


def _lean_step(arrays: Arrays) -> Any:
    """A function (token int64 [batch], [(h, c)] each [batch, hidden]) -> (logits, [(h, c)])."""
    import torch

    def tensor(values: Any) -> "Tensor":
        return torch.from_numpy(np.ascontiguousarray(values))

    layers = lstm_layers(arrays)
    table = tensor(layers[0][0].T + layers[0][2])
    recurrent = [tensor(own.T) for _, own, _ in layers]
    upper = [(tensor(bias), tensor(given.T)) for given, _, bias in layers[1:]]
    head, head_bias = tensor(arrays["head.weight"].T), tensor(arrays["head.bias"])

    def step(token: "Tensor", state: list[tuple["Tensor", "Tensor"]]) -> Any:
        given = table[token]
        after: list[tuple[Tensor, Tensor]] = []
        for layer, (h, c) in enumerate(state):
            if layer:
                bias, weights = upper[layer - 1]
                given = torch.addmm(bias, after[-1][0], weights)
            i, f, g, o = torch.addmm(given, h, recurrent[layer]).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            after.append((o.sigmoid() * c.tanh(), c))
        return torch.addmm(head_bias, after[-1][0], head), after

    return step


def _zero_state(arrays: Arrays, batch: int) -> list[tuple["Tensor", "Tensor"]]:
    """(h, c) of each layer, made as a step makes them, so that the compiler sees one kind."""
    import torch

    size = batch, arrays["head.weight"].shape[1]
    with torch.inference_mode():
        return [(torch.zeros(size), torch.zeros(size)) for _ in lstm_layers(arrays)]


def _compiled(step: Any, arrays: Arrays, settings: CaseSettings) -> Any:
    import torch

    named = os.environ.get("CXX")
    if not any(map(shutil.which, [named] if named else ["g++", "clang++", "c++", "cl"])):
        raise CaseFailedError("torch.compile needs a C++ compiler, and none was found")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(settings.artifacts) / "inductor")
    options: dict[str, Any] = {"cpp_wrapper": True}
    run: Any = torch.compile(step, fullgraph=True, dynamic=False, options=options)
    token = torch.zeros(settings.batch, dtype=torch.int64)
    state = _zero_state(arrays, settings.batch)
    with torch.inference_mode():
        for _ in range(2):
            _, state = run(token, state)
    torch.compiler.set_stance(skip_guard_eval_unsafe=True)  # shapes never change from here on
    return run
