"""llama.cpp's server, to be loaded as ours is, with a model as small.

Its model is a transformer of one layer that has as many weights as LSTM-192, at random, and as many
characters: what is measured is serving, not text. Its attention costs more the longer a text is.
"""

import contextlib
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from charlm.benchmarks.load.client import ask_all, percentiles, post, run
from charlm.benchmarks.load.server import START_SECONDS, Server
from charlm.data.system.cores import usable_cores
from charlm.data.system.errors import MissingExtraError, SettingsError

WIDTH, INNER, HEADS, CHARACTERS = 128, 256, 4, 62
SLOTS, CONTEXT = 256, 2112  # streams at once, the most it allows; characters of each
# A character takes all weights but the embedding.
WEIGHTS = 4 * WIDTH**2 + 3 * WIDTH * INNER + WIDTH * CHARACTERS
PROMPT = "the old house "
DRAWN_ALIKE = {  # as ours are: all characters, no end before the last, each prompt read anew
    "temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0, "ignore_eos": True, "cache_prompt": False,
}  # fmt: skip


@dataclass(frozen=True)
class PeerRound:
    """A case once.

    Attributes:
        clients: at once.
        cpu_seconds: the server's, of all cores.
        first_ms: when the first character had come; see `LoadResult`.
    """

    clients: int
    requests: int
    seconds: float
    cpu_seconds: float | None
    first_ms: tuple[float, ...]


def write_model(path: Path) -> None:
    """Write the model in llama.cpp's format.

    Raises:
        MissingExtraError: llama.cpp's package for it is not there.
    """
    try:
        import gguf
    except ImportError as problem:
        raise MissingExtraError("pip install gguf, to write llama.cpp's model") from problem
    chance = np.random.default_rng(1)
    characters = ["Ġ", "Ċ", *map(chr, range(ord("A"), ord("A") + CHARACTERS - 2))]
    words = [*characters, "<end>", "th"]  # of the two, one is demanded as a merge
    out = gguf.GGUFWriter(path, "llama")
    out.add_context_length(CONTEXT)
    out.add_embedding_length(WIDTH)
    out.add_block_count(1)
    out.add_feed_forward_length(INNER)
    out.add_head_count(HEADS)
    out.add_head_count_kv(HEADS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_dimension_count(WIDTH // HEADS)
    out.add_vocab_size(len(words))
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("default")
    out.add_token_list(words)
    out.add_token_types([1] * len(characters) + [3, 1])
    out.add_token_merges(["t h"])
    out.add_eos_token_id(len(characters))
    out.add_add_bos_token(False)
    sizes = {
        "token_embd": (len(words), WIDTH), "output": (len(words), WIDTH),
        **{f"blk.0.attn_{name}": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")},
        "blk.0.ffn_gate": (INNER, WIDTH), "blk.0.ffn_up": (INNER, WIDTH),
        "blk.0.ffn_down": (WIDTH, INNER),
    }  # fmt: skip
    for name, size in sizes.items():
        out.add_tensor(f"{name}.weight", chance.normal(0, 0.05, size).astype(np.float32))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        out.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


@contextlib.contextmanager
def llama_serving(program: str) -> Iterator[Server]:
    """Run llama.cpp's server, with every core, at a free port.

    Args:
        program: `llama-server`.

    Raises:
        SettingsError: it does not start.
        MissingExtraError: see `write_model`.
    """
    with tempfile.TemporaryDirectory(prefix="charlm-llama-") as folder:
        model, log, port = Path(folder) / "model.gguf", Path(folder) / "log", _free_port()
        write_model(model)
        command = [
            program, "--model", str(model), "--port", str(port), "--threads", str(usable_cores()),
            "--parallel", str(SLOTS), "--ctx-size", str(SLOTS * CONTEXT), "--cache-ram", "0",
        ]  # fmt: skip
        with log.open("w") as said:
            try:
                process = subprocess.Popen(command, stdout=said, stderr=said)
            except OSError as problem:
                raise SettingsError(f"can't run {program}: {problem.strerror}") from problem
        try:
            end = time.monotonic() + START_SECONDS
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > end:
                    raise SettingsError(f"{program} does not start: {log.read_text()[-500:]}")
                time.sleep(0.1)
            yield Server(port, process.pid)
        finally:
            process.kill()
            process.wait()


def llama_version(program: str) -> str:
    """What llama.cpp's server says of itself."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return (said.stderr + said.stdout).strip().partition("\n")[0].removeprefix("version: ")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        sent = [b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"]
        return run(ask_all(port, sent, 1))[0].status == 200
    return False


def measure_peer(
    server: Server, requests: int, clients: int, length: int, stream: bool
) -> PeerRound:
    """Ask llama.cpp's server for texts, each over a connection of its own: it closes them.

    Raises:
        SettingsError: an answer is an error, or too short.
    """
    body = {**DRAWN_ALIKE, "prompt": PROMPT, "max_tokens": length, "stream": stream}
    sent = [post(json.dumps({**body, "seed": seed}).encode()) for seed in range(1, 1 + requests)]
    clients = min(clients, requests)
    before, began = server.cpu_seconds(), time.perf_counter()
    answers = run(ask_all(server.port, sent, clients, keep=False))
    seconds, after = time.perf_counter() - began, server.cpu_seconds()
    for each in answers:
        if each.status != 200 or len(each.text) < length:
            raise SettingsError(f"llama.cpp's server gave no text: {each.text[:200]}")
    cpu = None if before is None or after is None else after - before
    return PeerRound(clients, requests, seconds, cpu, percentiles([each.first for each in answers]))
