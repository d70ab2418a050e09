"""A model repository for NVIDIA Triton: the step graph, and the server carries the state.

A request is one character of a text, its answer the logits of the next; requests of one sequence
id are one text. Triton's sequence batcher runs those of many texts together.
"""

import json
from pathlib import Path

from charlm.data.system.errors import ExportError
from charlm.data.system.files import os_errors_as
from charlm.export.contract import LOGITS, STEP, TOKEN, Metadata, tensors
from charlm.export.hosts.folder import check_free

FILES = (Path("config.pbtxt"), Path("1", "model.onnx"), Path("model.json"))  # of a model
TYPES = {"tensor(int64)": "TYPE_INT64", "tensor(float)": "TYPE_FP32"}
MAX_BATCH = 256  # where the speed of a core levels off
MAX_TEXTS = 4096  # under way; h and c of one take 1.5 kB of LSTM-192
IDLE_MICROSECONDS = 60_000_000  # after which a text that sends nothing is forgotten

CONFIG = """\
# A request is one character of a text: its token id. The answer is the logits of the next one.
# The first request of a text sets sequence_start, the last sequence_end. model.json has the
# characters, the normalisation and what a text without a prompt begins with.
name: {name}
backend: "onnxruntime"
max_batch_size: {batch}
input [ {{ name: "{token}" data_type: {token_type} dims: [ 1 ] reshape: {{ shape: [ ] }} }} ]
output [ {{ name: "{logits}" data_type: {logits_type} dims: [ {vocabulary} ] }} ]
sequence_batching {{
  max_sequence_idle_microseconds: {idle}
  oldest {{ max_candidate_sequences: {texts} }}
  state [
{states}
  ]
}}
# A step is shorter than the start of a GPU's kernels.
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
parameters {{ key: "intra_op_thread_count" value: {{ string_value: "1" }} }}
"""
STATE = """\
    {{
      input_name: "{given}" output_name: "{found}" data_type: TYPE_FP32 dims: [ {dims} ]
      initial_state: {{
        name: "zero {given}" data_type: TYPE_FP32 dims: [ {dims} ] zero_data: true
      }}
    }}"""


def check_repository(folder: Path, name: str) -> None:
    """See that a folder is not there, or holds models of Triton alone, of which `name` is charlm's.

    Raises:
        ExportError: it holds other things, or can't be read.
    """
    with os_errors_as(ExportError, f"can't write {folder}"):
        standing = sorted(folder.iterdir()) if folder.exists() else []
    for path in standing:
        hidden = path.name.startswith(".")  # as .git
        if path.name != name and not hidden and not (path / FILES[0]).is_file():
            raise ExportError(
                f"{folder} is no model repository: it holds other things, such as {path.name}: "
                "name a new one"
            )
    check_free(folder / name, FILES, FILES)


def repository(content: bytes, metadata: Metadata, name: str) -> dict[Path, bytes]:
    """The files of a model repository, by their paths in it.

    Args:
        content: the step graph.
        metadata: of the model.
        name: of the model in Triton.
    """
    contents = config(metadata, name).encode(), content, metadata.to_json().encode()
    return {Path(name) / file: each for file, each in zip(FILES, contents, strict=True)}


def config(metadata: Metadata, name: str) -> str:
    """The model's configuration, in protobuf's text format.

    Raises:
        ExportError: the states' names can't be used with Triton.
    """
    inputs, outputs = tensors(STEP, metadata)
    pairs = [(state["input"], state["output"]) for state in metadata.states()]
    check_order(pairs)
    dims = f"{metadata.layers}, {metadata.hidden}"
    states = [STATE.format(given=given, found=found, dims=dims) for given, found in pairs]
    return CONFIG.format(
        name=json.dumps(name, ensure_ascii=False),
        batch=MAX_BATCH,
        token=TOKEN,
        token_type=TYPES[inputs[TOKEN][0]],
        logits=LOGITS,
        logits_type=TYPES[outputs[LOGITS][0]],
        vocabulary=len(metadata.vocabulary),
        idle=IDLE_MICROSECONDS,
        texts=MAX_TEXTS,
        states=",\n".join(states),
    )


def check_order(pairs: list[tuple[str, str]]) -> None:
    """Triton pairs states by the alphabet, not as configured: outputs must sort as their inputs do.

    Else it would hand h to c without a word (triton-inference-server/server, issue 8586).

    Args:
        pairs: input and output of each state.

    Raises:
        ExportError: they don't.
    """
    inputs, outputs = zip(*sorted(pairs), strict=True)
    if list(outputs) != sorted(outputs):
        raise ExportError(
            f"Triton would exchange the states: {', '.join(outputs)} do not sort as "
            f"{', '.join(inputs)} do"
        )
