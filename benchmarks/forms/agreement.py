"""What a form must show before its speed means anything: that it draws what it should."""

from dataclasses import replace
from typing import Any

import numpy as np

from charlm.benchmarks.forms.catalogue import NEAR, TORCH, Form
from charlm.data.errors import ExportError
from charlm.export import contract, verify_generate, verify_int8
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import (
    GENERATE,
    INT8,
    INVERSE_TEMPERATURE,
    TOKENS,
    UNIFORM,
)
from charlm.export.proving import one_thread
from charlm.export.weights import Weights, to_torch

BATCH = 3  # of the proof against Torch
STREAMS, STEPS = 256, 4  # another quantisation draws the same text for a while: so long
ALIKE = 0.75  # of those characters; a wrong graph has a tenth


def feed(batch: int, length: int, metadata: Metadata) -> dict[str, Any]:
    """Inputs of a run: a zero state, random numbers, temperature 1."""
    zeros = np.zeros((batch, metadata.layers, metadata.hidden), dtype=np.float32)
    words = np.random.RandomState(0).randint(0, 1 << 23, (batch, length))
    return {
        contract.H: zeros,
        contract.C: zeros,
        UNIFORM: ((words + 0.5) * 2.0**-23).astype(np.float32),
        INVERSE_TEMPERATURE: np.ones(batch, dtype=np.float32),
    }


def check(
    session: Any, form: Form, name: str, shipped: Any, weights: Weights, metadata: Metadata
) -> None:
    """Hold a form against what its `proof` names.

    Args:
        session: `onnxruntime.InferenceSession` of the form.
        form: which.
        name: of it, for the message.
        shipped: session of the float32 form that ships.
        weights: that all forms hold.
        metadata: of the model.

    Raises:
        ExportError: it draws something else.
    """
    if form.proof == TORCH:
        kind = replace(GENERATE, steps=form.unrolled if form.unrolled > 1 else None)
        with one_thread():
            verify_generate.compare(
                session, kind, to_torch(weights), BATCH, metadata.vocabulary, name
            )
    elif form.proof == NEAR:
        _check_near(session, name, shipped, metadata)
    else:
        verify_int8.prove(session, INT8, weights, name)


def _check_near(session: Any, name: str, shipped: Any, metadata: Metadata) -> None:
    inputs = feed(STREAMS, STEPS, metadata)
    drawn, wanted = (each.run([TOKENS], inputs)[0] for each in (session, shipped))
    alike = float((drawn == wanted).mean())
    if alike < ALIKE:
        raise ExportError(f"{name} draws {alike:.0%} of float32's characters")
