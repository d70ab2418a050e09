"""Which form of the graph of many steps is fastest; the measurement behind `generate_graph.py`.

Every form keeps the contract and holds the weights of the model that ships. Each is proven before
it is timed, in turns with all others of its table. What came of it stands in `NOTES.md`.

    python -m charlm.benchmarks.generate_forms
"""

import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import onnxruntime

from charlm.benchmarks import machine, pinning
from charlm.benchmarks.forms.agreement import check, feed
from charlm.benchmarks.forms.catalogue import (
    SHIPPED,
    SHIPPED_INT8,
    Form,
    float_forms,
    int8_forms,
)
from charlm.benchmarks.forms.turns import afresh, cell, in_turns, table
from charlm.export import generate_graph, quality, sequence_graph, step_graph, verify_generate
from charlm.export.cell import FloatProducts
from charlm.export.contract import C_NEXT, H_NEXT, C, H, Metadata
from charlm.export.contract_siblings import (
    FILTERED,
    GENERATE,
    MIN_P,
    SEQUENCE_INT8,
    TOKENS,
    TOP_K,
    TOP_P,
    TOP_P_OFF,
    UNIFORM,
)
from charlm.export.read_graph import read_graph
from charlm.export.weights import Weights, to_torch
from charlm.infer.artifact import Model
from charlm.infer.engine import Primed, StepEngine
from charlm.infer.filters import Filters
from charlm.infer.runtime import session_on, session_options
from charlm.infer.sampling import Sampling
from charlm.infer.shipped import shipped_model

STEPS = {1: 256, 16: 64, 64: 32, 256: 16}  # characters of a stream in one run, by batch
ROUNDS, SECONDS = 9, 0.03
OUTPUTS = [TOKENS, H_NEXT, C_NEXT]
TOP_TWENTY = Filters(top_k=20, top_p=0.9)
Call = Callable[[], Any]


def main() -> None:
    """Measure everything and print Markdown."""
    path = shipped_model()
    weights, metadata = read_graph(path.read_bytes(), str(path))
    with pinning.pinned(1):
        print(f"ONNX Runtime {onnxruntime.__version__}, {machine.describe('cpu').cpu}, ", end="")
        print("µs a character: median ×time of the first row (min - max)")
        print(f"\n## float32, one thread\n\n{forms_table(float_forms(), weights, metadata)}")
        print(f"\n## int8, one thread\n\n{forms_table(int8_forms(), weights, metadata)}")
        print(f"\n## Filters, one thread\n\n{filters_table(weights, metadata)}")
    print(f"\n## Two threads\n\n{threads_table(weights, metadata)}")


def open_form(content: bytes, memory_pattern: bool = True, threads: int = 1) -> Any:
    """`onnxruntime.InferenceSession` with the options that charlm runs with."""
    options = session_options(onnxruntime, threads)
    options.enable_mem_pattern = memory_pattern
    return session_on(onnxruntime, content, options, "cpu")


def forms_table(forms: Mapping[str, Form], weights: Weights, metadata: Metadata) -> str:
    """Prove and time forms at every batch; the smaller precisions with the bits that they cost."""
    contents = proven(forms, weights, metadata)
    base = next(iter(forms))
    columns = {}
    for batch, steps in STEPS.items():
        openers = {
            name: partial(_open_run, contents[name], form, feed(batch, steps, metadata))
            for name, form in forms.items()
        }
        times = afresh(openers, batch * steps, ROUNDS, SECONDS)
        columns[f"batch {batch}"] = {name: cell(times, name, base) for name in forms}
    if base == SHIPPED_INT8:
        columns["bits per character lost"] = lost_bits(forms, weights, metadata)
    return table("form", columns)


def proven(forms: Mapping[str, Form], weights: Weights, metadata: Metadata) -> dict[str, bytes]:
    """The graph of each form, which has been proven.

    Raises:
        ExportError: a form draws something else than it should.
    """
    shipped = open_form(float_forms()[SHIPPED].build(weights, metadata))
    contents = {}
    for name, form in forms.items():
        contents[name] = form.build(weights, metadata)
        session = open_form(contents[name], form.memory_pattern)
        check(session, form, name, shipped, weights, metadata)
        print(f"proven: {name}", file=sys.stderr)
    return contents


def _open_run(content: bytes, form: Form, inputs: dict[str, Any]) -> Call:
    return partial(open_form(content, form.memory_pattern).run, OUTPUTS, inputs)


def lost_bits(forms: Mapping[str, Form], weights: Weights, metadata: Metadata) -> dict[str, str]:
    """Bits per character that forms lose on a text that the model draws, where they can read."""
    generate = generate_graph.build(FloatProducts(weights), metadata, GENERATE)
    sample = quality.draw_sample(open_form(generate), metadata)

    def bits(products: Any) -> float:
        content = sequence_graph.build_scan(
            products, metadata, replace(SEQUENCE_INT8, ort_ops=True)
        )
        return quality.bits_per_character(open_form(content), sample.ids, metadata)

    before = bits(FloatProducts(weights))
    found = {}
    for name, form in forms.items():
        if form.products is not None:
            found[name] = f"{bits(form.products(weights)) - before:.4f}"
    return found


def filters_table(weights: Weights, metadata: Metadata) -> str:
    """Top-k and top-p by TopK within the graph, and by NumPy's sort in the step loop."""
    products = FloatProducts(weights)
    graph = open_form(generate_graph.build(products, metadata, FILTERED))
    plain = open_form(generate_graph.build(products, metadata, GENERATE))
    step = open_form(step_graph.build(weights, metadata))
    model = Model(step, metadata, "cpu", 1, None)
    verify_generate.compare(graph, FILTERED, to_torch(weights), 3, metadata.vocabulary, "filters")
    columns = {}
    for batch, steps in STEPS.items():
        loops = {
            "no filters, step loop": step_loop(model, weights, batch, steps, Filters()),
            "top-k 20 and top-p 0.9, step loop": step_loop(
                model, weights, batch, steps, TOP_TWENTY
            ),
        }
        inputs = feed(batch, steps, metadata)
        filtered = filtered_feed(batch, steps, metadata, TOP_TWENTY)
        calls: dict[str, Call] = {
            "no filters, graph": partial(plain.run, OUTPUTS, inputs),
            "top-k 20 and top-p 0.9, graph": partial(graph.run, OUTPUTS, filtered),
            **loops,
        }
        times = in_turns(calls, batch * steps, ROUNDS, SECONDS)
        columns[f"batch {batch}"] = {name: cell(times, name, next(iter(calls))) for name in calls}
    return table("", columns)


def step_loop(model: Model, weights: Weights, batch: int, steps: int, filters: Filters) -> Call:
    """A call that draws what the graph draws, by the step graph and NumPy's sampling."""
    inputs = feed(batch, steps, model.metadata)
    logits = np.tile(weights.head_bias, (batch, 1))  # of a zero state
    engine = StepEngine(model)
    engine.start(
        Primed(inputs[H], inputs[C], logits),
        Sampling.same(batch, weights.vocabulary, 1.0, filters),
    )
    return partial(engine.draw, inputs[UNIFORM])


def filtered_feed(batch: int, steps: int, metadata: Metadata, filters: Filters) -> dict[str, Any]:
    """As `feed`, with filters."""
    top_k, top_p, min_p = filters.limits(len(metadata.vocabulary))
    return feed(batch, steps, metadata) | {
        TOP_K: np.full(batch, top_k, dtype=np.int64),
        TOP_P: np.full(batch, min(top_p, TOP_P_OFF), dtype=np.float32),
        MIN_P: np.full(batch, min_p, dtype=np.float32),
    }


def threads_table(weights: Weights, metadata: Metadata) -> str:
    """One session of two threads, and two Python threads that share a session of one."""
    content = generate_graph.build(FloatProducts(weights), metadata, GENERATE)
    one, two = open_form(content), open_form(content, threads=2)
    columns = {}
    with ThreadPoolExecutor(2) as pool:
        for batch, steps in STEPS.items():
            whole = feed(batch, steps, metadata)
            calls: dict[str, Call] = {
                "one thread": partial(one.run, OUTPUTS, whole),
                "two threads in one session": partial(two.run, OUTPUTS, whole),
            }
            if batch > 1:
                half = feed(batch // 2, steps, metadata)
                calls["two threads that share a session"] = partial(
                    lambda half: [*pool.map(one.run, [OUTPUTS] * 2, [half] * 2)], half
                )
            times = in_turns(calls, batch * steps, ROUNDS, SECONDS)
            columns[f"batch {batch}"] = {name: cell(times, name, "one thread") for name in calls}
    return table("", columns)


if __name__ == "__main__":
    main()
