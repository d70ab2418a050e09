"""The machine's own limits: how fast the arithmetic of a character could be, and nothing else.

One stream multiplies a vector by each weight matrix in turn; the matrices stay in a core's cache,
so the limit is its matrix-vector rate at just these sizes. Many streams make matrix products of
the same work, whose limit is the matrix-product peak. Each is measured in several libraries, and
the best counts. Targets for `worker`, timed between the cases.
"""

from pathlib import Path
from typing import Any

import numpy as np

from charlm.benchmarks import artifacts
from charlm.benchmarks.settings import CaseSettings, Run
from charlm.benchmarks.work import BATCH, SIDE


def numpy_product(settings: CaseSettings) -> Run:
    """Units: products of two square matrices by NumPy's BLAS."""
    del settings
    a, b = _random(SIDE, SIDE), _random(SIDE, SIDE)
    out = np.empty_like(a)
    return lambda count: [np.matmul(a, b, out=out) for _ in range(count)]


def onnx_product(settings: CaseSettings) -> Run:
    """Units: products of two square matrices by ONNX Runtime's MatMul."""
    from charlm.benchmarks import product_graphs
    from charlm.benchmarks.cases.common import session

    run = _bound(session(product_graphs.product(SIDE), settings), _random(SIDE, SIDE))
    return lambda count: [run() for _ in range(count)]


def numpy_vector(settings: CaseSettings) -> Run:
    """Units: the products of `BATCH` characters, vector times matrix, by NumPy's BLAS."""
    jobs = []
    for rows, columns in _shapes(settings):
        out = np.empty((BATCH, 1, columns), dtype=np.float32)
        jobs.append((_random(BATCH, 1, rows), _random(rows, columns), out))
    return lambda count: [np.matmul(x, w, out=out) for _ in range(count) for x, w, out in jobs]


def numpy_column(settings: CaseSettings) -> Run:
    """Units: the same with the matrices transposed and the vectors as columns."""
    jobs = []
    for rows, columns in _shapes(settings):
        out = np.empty((BATCH, columns, 1), dtype=np.float32)
        jobs.append((_random(columns, rows), _random(BATCH, rows, 1), out))
    return lambda count: [np.matmul(w, x, out=out) for _ in range(count) for w, x, out in jobs]


def onnx_vector(settings: CaseSettings) -> Run:
    """Units: the products of `BATCH` characters by ONNX Runtime's MatMul inside a Scan."""
    from charlm.benchmarks import product_graphs
    from charlm.benchmarks.cases.common import session

    shapes = _shapes(settings)
    graph = product_graphs.vectors(shapes)
    feeds = [_random(BATCH, 1, rows) for rows, _ in shapes]
    run = _bound(session(graph, settings), *feeds)
    return lambda count: [run() for _ in range(count)]


def litert_vector(settings: CaseSettings) -> Run:
    """Units: the products of `BATCH` characters by LiteRT, one call for each character."""
    from charlm.benchmarks.cases.litert_step import open_interpreter

    invoke = open_interpreter(artifacts.LITERT_PRODUCTS, settings)._interpreter.Invoke
    return lambda count: [invoke() for _ in range(count * BATCH)]


def _shapes(settings: CaseSettings) -> tuple[tuple[int, int], ...]:
    return artifacts.read_info(Path(settings.artifacts)).products


def _random(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _bound(session: Any, *arrays: Any) -> Any:
    """A call of `session` with its inputs bound to arrays and its outputs to its own memory."""
    binding = session.io_binding()
    for tensor, array in zip(session.get_inputs(), arrays, strict=True):
        binding.bind_cpu_input(tensor.name, array)
    for tensor in session.get_outputs():
        shape = tensor.shape
        binding.bind_output(tensor.name, "cpu", 0, np.float32, shape, _kept(binding, shape))
    return lambda: session.run_with_iobinding(binding)


def _kept(owner: Any, shape: list[int]) -> int:
    """The address of a new array that lives as long as `owner`."""
    array = np.zeros(shape, dtype=np.float32)
    owner.__dict__.setdefault("outputs", []).append(array)
    return int(array.ctypes.data)
