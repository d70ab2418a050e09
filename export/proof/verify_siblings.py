"""The proof of a model's further graphs, each by what it does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from charlm.data.system.errors import ExportError, ModelFileError
from charlm.export import contract
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import GENERATE, NATIVE, SEQUENCE, Kind, check_sibling
from charlm.export.graphs.native import Native
from charlm.export.proof import verify, verify_generate, verify_sequence
from charlm.export.proof.proving import Errors, judge, largest, one_thread, open_session
from charlm.export.proof.verify_generate import Drawer, GraphDrawer, NativeDrawer
from charlm.train.model import CharLSTM

Found = dict[tuple[int, str], float]


@dataclass(frozen=True)
class SiblingProof:
    """What was found of one graph: errors relative to s, by (batch, tensor name).

    Attributes:
        carried: over all carried steps.
        step: of single steps from Torch's own state.
        drawn: how many characters it drew.
        flips: how many of them only a near-tie excuses.
        steps: over how many steps the graph carried its own state.
    """

    carried: Found = field(default_factory=dict)
    step: Found = field(default_factory=dict)
    drawn: int = 0
    flips: int = 0
    steps: int = 0

    def __or__(self, other: "SiblingProof") -> "SiblingProof":
        """Of a graph that does what both do: the larger of each error."""
        return SiblingProof(
            _larger(self.carried, other.carried),
            _larger(self.step, other.step),
            self.drawn + other.drawn,
            self.flips + other.flips,
            max(self.steps, other.steps),
        )

    def lines(self) -> list[str]:
        """For people: what was compared, and the largest errors over all batches, by tensor."""
        shown = [
            f"largest relative error, {title}: "
            + ", ".join(f"{name} {largest(found, name):.1e}" for name in _tensors(found))
            + f" (allowed {tolerance:.0e})"
            for title, found, tolerance in (
                ("one step", self.step, verify.STEP_TOLERANCE),
                (f"{self.steps} carried steps", self.carried, verify.CARRIED_TOLERANCE),
            )
            if found
        ]
        if self.drawn:
            shown.append(f"{self.drawn:,} characters drawn as due, {self.flips} by near-ties")
        return shown


def prove_siblings(
    contents: Mapping[Kind, bytes], model: CharLSTM, metadata: Metadata, names: Mapping[Kind, str]
) -> dict[Kind, SiblingProof]:
    """Run each graph beside the Torch model, which `verify.prove` has found finite.

    Args:
        contents: the serialised graphs.
        model: the model that they must equal, on the CPU.
        metadata: of the model.
        names: the files' names, for messages.

    Raises:
        ModelFileError: ONNX Runtime can't load a graph, or it is none of its kind and weights.
        ExportError: it does not equal the Torch model; the message says where and how far.
    """
    proofs = {}
    reference = None
    for kind, content in contents.items():
        where = names[kind]
        native = Native(content, where) if kind == NATIVE else None
        session = _open(native.session if native else None, content, kind, metadata, where)
        failed = f"{where}: a run of it failed"
        with contract.runtime_errors_as(ExportError, failed), one_thread():
            proof = SiblingProof()
            if kind != GENERATE:
                reference = reference or verify_sequence.read_by_torch(model)
                proof = _prove_sequence(native or session, reference, where)
            if kind != SEQUENCE:
                drawer: Drawer = NativeDrawer(native) if native else GraphDrawer(session)
                proof |= _prove_generate(drawer, model, metadata, where)
            proofs[kind] = proof
    return proofs


def _open(session: Any, content: bytes, kind: Kind, metadata: Metadata, where: str) -> Any:
    session = session or open_session(content, where)
    with contract.runtime_errors_as(ModelFileError, f"{where}: its names can't be read"):
        found = session.get_modelmeta().custom_metadata_map
        check_sibling(session, found, kind, metadata, where)
    return session


def _prove_generate(
    drawer: Drawer, model: CharLSTM, metadata: Metadata, where: str
) -> SiblingProof:
    step, carried, drawn, flips = Found(), Found(), 0, 0
    for batch in verify.BATCHES:
        found, excused = verify_generate.compare(drawer, model, batch, metadata.vocabulary, where)
        carried |= _of(found)
        drawn += batch * verify.STEPS
        flips += excused
        step |= _of(verify_generate.compare_steps(drawer, model, batch))
    _judge(where, step, carried, verify.STEPS)
    verify_generate.check_one_run(drawer, model, where)
    return SiblingProof(carried, step, drawn, flips, verify.STEPS)


def _prove_sequence(session: Any, reference: verify_sequence.Reference, where: str) -> SiblingProof:
    step, carried = Found(), Found()
    for batch in verify.BATCHES:
        carried |= _of(verify_sequence.compare(session, reference, batch))
        step |= _of(verify_sequence.compare_steps(session, reference, batch))
    _judge(where, step, carried, verify.STEPS)
    return SiblingProof(carried, step, steps=verify.STEPS)


def _larger(one: Found, other: Found) -> Found:
    return {key: max(one.get(key, 0.0), other.get(key, 0.0)) for key in {**one, **other}}


def _of(errors: Errors) -> Found:
    return {(errors.batch, name): error for name, error in errors.relative().items()}


def _tensors(found: Found) -> list[str]:
    return list(dict.fromkeys(name for _, name in found))


def _judge(where: str, step: Found, carried: Found, steps: int) -> None:
    judge(where, "after one step", step, verify.STEP_TOLERANCE)
    judge(where, f"within {steps} carried steps", carried, verify.CARRIED_TOLERANCE)
