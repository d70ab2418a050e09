"""The proof of a model's further graphs, each by the way of its family."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from charlm.data.errors import ExportError, ModelFileError
from charlm.export import (
    contract,
    verify,
    verify_generate,
    verify_half,
    verify_int8,
    verify_sequence,
)
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import Kind, check_sibling
from charlm.export.proving import judge, largest, one_thread, open_session
from charlm.export.verify_half import HalfProof
from charlm.export.verify_int8 import Int8Proof
from charlm.export.weights import from_torch
from charlm.train.model import CharLSTM


@dataclass(frozen=True)
class SiblingProof:
    """What was found of one graph.

    Attributes:
        errors: the largest errors over the carried steps, relative to s, by (batch, tensor name).
        drawn: how many characters it drew.
        flips: how many of them only a near-tie excuses.
        carried: over how many steps the graph carried its own state.
    """

    errors: dict[tuple[int, str], float]
    drawn: int = 0
    flips: int = 0
    carried: int = verify.STEPS

    def line(self) -> str:
        """One line for people."""
        names = dict.fromkeys(name for _, name in self.errors)
        found = ", ".join(f"{name} {largest(self.errors, name):.1e}" for name in names)
        shown = f"largest relative error, {self.carried} carried steps: {found}"
        shown += f" (allowed {verify.CARRIED_TOLERANCE:.0e})"
        if self.drawn:
            shown += f"; {self.drawn:,} characters drawn as due, {self.flips} by near-ties"
        return shown


Proof = SiblingProof | Int8Proof | HalfProof


def prove_siblings(
    contents: Mapping[Kind, bytes], model: CharLSTM, metadata: Metadata, names: Mapping[Kind, str]
) -> dict[Kind, Proof]:
    """Run each graph beside the Torch model, which `verify.prove` has found finite.

    An int8 graph is run beside the int8 arithmetic of the same weights, an fp16 graph as
    `verify_half` says.

    Args:
        contents: the serialised graphs.
        model: the model that they must equal, on the CPU.
        metadata: of the model.
        names: the files' names, for messages.

    Raises:
        ModelFileError: ONNX Runtime can't load a graph, or it is none of its kind and weights.
        ExportError: it does not equal the Torch model; the message says where and how far.
    """
    proofs: dict[Kind, Proof] = {}
    reference = None
    for kind, content in contents.items():
        where = names[kind]
        session = _open(content, kind, metadata, where)
        failed = f"{where}: a run of it failed"
        with contract.runtime_errors_as(ExportError, failed), one_thread():
            if kind.precision == "int8":
                proofs[kind] = verify_int8.prove(session, kind, from_torch(model), where)
            elif kind.precision != "float32":
                laid_out = from_torch(model)
                proofs[kind] = verify_half.prove(session, kind, model, laid_out, metadata, where)
            elif kind.family == "sequence":
                reference = reference or verify_sequence.read_by_torch(model)
                proofs[kind] = _prove_sequence(session, reference, where)
            else:
                proofs[kind] = _prove_generate(session, kind, model, metadata, where)
    return proofs


def _open(content: bytes, kind: Kind, metadata: Metadata, where: str) -> Any:
    session = open_session(content, where)
    with contract.runtime_errors_as(ModelFileError, f"{where}: its names can't be read"):
        found = session.get_modelmeta().custom_metadata_map
        check_sibling(session, found, kind, metadata, where)
    return session


def _prove_generate(
    session: Any, kind: Kind, model: CharLSTM, metadata: Metadata, where: str
) -> SiblingProof:
    errors: dict[tuple[int, str], float] = {}
    drawn = flips = 0
    for batch in verify.BATCHES:
        found, excused = verify_generate.compare(
            session, kind, model, batch, metadata.vocabulary, where
        )
        errors |= {(batch, name): error for name, error in found.relative().items()}
        drawn += batch * sum(verify_generate.blocks(verify.STEPS, kind.steps))
        flips += excused
    _judge(where, errors, kind.steps or verify.STEPS)
    if kind.steps is None:
        verify_generate.check_one_run(session, kind, model, where)
    return SiblingProof(errors, drawn, flips, kind.steps or verify.STEPS)


def _prove_sequence(session: Any, reference: verify_sequence.Reference, where: str) -> SiblingProof:
    errors: dict[tuple[int, str], float] = {}
    for batch in verify.BATCHES:
        found = verify_sequence.compare(session, reference, batch)
        errors |= {(batch, name): error for name, error in found.relative().items()}
    _judge(where, errors)
    return SiblingProof(errors)


def _judge(where: str, errors: dict[tuple[int, str], float], steps: int = verify.STEPS) -> None:
    within = f"within {steps} carried steps"
    judge(where, within, errors, verify.CARRIED_TOLERANCE)
