"""The operator's own self-test, with sanitizers, here and for Arm; and damaged files under them.

The flags are those of `setup.py`.
"""

import os
import runpy
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from charlm.export.contract import Metadata
from charlm.export.contract.native import native_graph

ROOT = Path(__file__).parents[3]
NATIVE = ROOT / "infer" / "native"
ROUNDS = "15"
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
SANITIZERS = ["-O1", "-g1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"]
ARM = "aarch64-linux-gnu-g++"


@pytest.fixture
def build() -> dict[str, Any]:
    """What `setup.py` defines, without its setting anything up."""
    return runpy.run_path(str(ROOT / "setup.py"), run_name="setup")


def compiled(
    build: dict[str, Any], folder: Path, compiler: str, machine: str, flags: list[str]
) -> list[str]:
    """Objects of the operator for all instruction sets of a machine; warnings are errors."""
    common = [*build["FLAGS"], *WARNINGS, *flags]
    cuda = [f'-DCHARLM_CUDA="{NATIVE / "cuda"}"']
    jobs = [(source.replace("/", "-"), source, cuda) for source in build["COMMON"]]
    for name, own in build["INSTRUCTION_SETS"][machine].items():
        jobs.append((name, "cpu/kernels.cpp", [*own, f"-DCHARLM_ISA={name}"]))

    def one(job: tuple[str, str, list[str]]) -> str:
        name, source, own = job
        target = str(folder / f"{name}.o")
        run([compiler, *common, *own, "-c", str(NATIVE / source), "-o", target])
        return target

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, jobs))


def run(command: list[str], **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def symbol(instruction_set: str) -> str:
    """What the linker calls the kernels of an instruction set."""
    name = f"instructions_{instruction_set}"
    return f"_ZN6charlm{len(name)}{name}E"


def self_test(objects: list[str], folder: Path, compiler: str, flags: list[str]) -> Path:
    program = folder / "selftest"
    source = str(NATIVE / "selftest.cpp")
    parts = [each for each in objects if not each.endswith("operator.cpp.o")]
    own = ["-std=c++17", *flags, "-pthread"]
    run([compiler, *own, source, *parts, "-o", str(program), "-ldl"])
    return program


needs_compiler = pytest.mark.skipif(
    not shutil.which("g++"), reason="needs g++, on a machine that the operator is written for"
)


@needs_compiler
def test_self_test_under_the_thread_sanitizer(build: dict[str, Any], tmp_path: Path) -> None:
    """Of the plainest kernels alone, under every name: their threads are those of the others."""
    if build["MACHINE"] != "x86_64":
        pytest.skip("needs x86-64")
    (*others, plainest) = build["INSTRUCTION_SETS"]["x86_64"]
    build["INSTRUCTION_SETS"]["x86_64"] = {plainest: []}
    flags = [*SANITIZERS, "-fsanitize=thread"]
    objects = compiled(build, tmp_path, "g++", "x86_64", flags)
    flags += [f"-Wl,--defsym={symbol(each)}={symbol(plainest)}" for each in others]
    program = self_test(objects, tmp_path, "g++", flags)
    assert run([str(program), "6"]).splitlines()[-1].endswith(", 0 failures")


def test_self_test_on_arm(build: dict[str, Any], tmp_path: Path) -> None:
    """`max` has the products of bytes that the other processor lacks."""
    emulator = shutil.which("qemu-aarch64")
    if not (shutil.which(ARM) and emulator):
        pytest.skip(f"needs {ARM} and qemu-aarch64")
    objects = compiled(build, tmp_path, ARM, "aarch64", ["-O1"])
    program = self_test(objects, tmp_path, ARM, ["-O1", "-static"])
    for processor, sets in (("cortex-a72", 1), ("max", 2)):
        said = run([emulator, "-cpu", processor, str(program), "8"]).splitlines()
        assert said[-1] == f"{sets} instruction sets, 0 failures"


MUTATE = """
import random, sys
from pathlib import Path
import numpy as np
import onnxruntime
from charlm.export.contract import native as contract_native
contract_native.LIBRARY = Path(sys.argv[1])
content = Path(sys.argv[2]).read_bytes()
chosen = random.Random(1)
opened = ran = 0
for turn in range(400):
    mutated = bytearray(content)
    for _ in range(chosen.randint(1, 4)):
        place = chosen.randrange(len(mutated))
        kind = chosen.random()
        if kind < 0.6:
            mutated[place] = chosen.randrange(256)
        elif kind < 0.8:
            del mutated[place : place + chosen.randint(1, 40)]
        else:
            mutated[place:place] = bytes(chosen.randint(1, 40))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    contract_native.add_entries(options, chosen.choice(("float32", "int8")), chosen.randint(1, 3))
    try:
        session = onnxruntime.InferenceSession(
            bytes(mutated), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        opened += 1
        batch = chosen.randint(0, 70)
        def draw(low, high):
            return np.array([chosen.randint(low, high) for _ in range(batch)], dtype=np.int64)
        def numbers():
            return np.array([chosen.uniform(0, 2) for _ in range(batch)], dtype=np.float32)
        state = np.zeros((batch, 2, 16), np.float32)
        session.run(None, {
            "h": state, "c": state,
            "prompt": draw(0, 28).astype(np.uint8)[:, None] * np.array([1, 0, 1], np.uint8),
            "lengths": draw(0, 4 if chosen.random() < 0.1 else 3),
            "scored": np.array(chosen.randint(0, 2)), "steps": np.array(chosen.randint(0, 5)),
            "seed": draw(0, 9).astype(np.uint64), "stream": draw(0, 9).astype(np.uint64),
            "position": draw(0, 9).astype(np.uint64), "inverse_temperature": numbers(),
            "top_k": draw(1, 40), "top_p": numbers() + np.float32(0.01),
            "min_p": numbers() / 2,
        })
        ran += 1
    except Exception:
        pass
print(opened, ran)
"""


@needs_compiler
def test_self_test_and_damaged_files_under_address_and_undefined_behaviour_sanitizers(
    build: dict[str, Any], small_content: bytes, small_metadata: Metadata, tmp_path: Path
) -> None:
    """A graph changed anywhere, and inputs of all kinds: an answer or an error, no more."""
    if build["MACHINE"] not in build["INSTRUCTION_SETS"]:
        pytest.skip("a machine that the operator is not written for")
    flags = [*SANITIZERS, "-O0", "-fsanitize=address,undefined"]  # compiled in half the time
    objects = compiled(build, tmp_path, "g++", build["MACHINE"], flags)
    said = run([str(self_test(objects, tmp_path, "g++", flags)), ROUNDS])
    assert said.splitlines()[-1].endswith(", 0 failures")

    library, graph = tmp_path / build["LIBRARY"], tmp_path / "native.onnx"
    run(["g++", *flags, "-shared", *objects, "-o", str(library), "-ldl"])
    graph.write_bytes(native_graph(small_content, small_metadata, "small"))
    # With the standard library, whose exceptions the sanitizer must find as it starts.
    preloaded = [
        run(["g++", f"-print-file-name={name}"]).strip() for name in ("libasan.so", "libstdc++.so")
    ]
    environment = {
        **os.environ,
        "LD_PRELOAD": " ".join(preloaded),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1",
    }
    said = run([sys.executable, "-c", MUTATE, str(library), str(graph)], env=environment)
    opened, ran = map(int, said.split())
    assert opened > 50
    assert ran > 20
