"""What is compiled is kept; and what NVIDIA's own compiler makes of the kernels, without a GPU."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from charlm.export.contract import LOGITS
from charlm.export.contract import native as contract_native
from charlm.infer.model.shipped import shipped_model
from tests.infer.engines.gpu.conftest import Made, feed_of
from tests.infer.engines.gpu.process import Gpu, Variables, device_and_note, run


def test_a_kept_program_is_not_compiled_again(emulated: Gpu, made: Made, tmp_path: Path) -> None:
    path, no_compiler = made(28, 17, 1), {"EMULATED_SOURCES": "/none"}
    kept = {"CHARLM_CACHE": "", "XDG_CACHE_HOME": str(tmp_path / "new" / "cache")}
    assert emulated(device_and_note, path, "cuda", variables=kept) == ("cuda", None)
    assert emulated(device_and_note, path, "cuda", variables=kept | no_compiler) == ("cuda", None)
    (program,) = (tmp_path / "new" / "cache" / "charlm").iterdir()
    program.write_bytes(b"damaged" * 100)
    assert emulated(device_and_note, path, "cuda", variables=kept) == ("cuda", None)
    assert emulated(device_and_note, path, "cuda", variables=kept | no_compiler) == ("cuda", None)


def test_a_folder_that_can_not_be_written_is_no_error(
    emulated: Gpu, made: Made, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    kept = {"CHARLM_CACHE": str(tmp_path / "file" / "cache")}
    assert emulated(device_and_note, made(28, 17, 1), "cuda", variables=kept) == ("cuda", None)


REGISTERS, FRAME, THREADS = 0x2F, 0x11, 0x05  # EIATTR_REGCOUNT, _FRAME_SIZE and _MAX_THREADS
RESERVED = 1 << 10  # bytes of a block's shared memory that are the system's, from sm_80 on


def sections(program: bytes) -> dict[str, tuple[int, bytes]]:
    """The size and the content of each section of an ELF file of 64 bits."""
    (begin,) = struct.unpack_from("<Q", program, 0x28)
    size, count, named = struct.unpack_from("<HHH", program, 0x3A)
    rows = [struct.unpack_from("<IIQQQQ", program, begin + size * place) for place in range(count)]
    strings = rows[named][4]
    found = {}
    for name, *_, place, length in rows:
        end = program.index(0, strings + name)
        found[program[strings + name : end].decode()] = length, program[place : place + length]
    return found


def attributes(info: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    """What stands in a section .nv.info: kinds, and numbers of each."""
    while info:
        form, kind, value = struct.unpack_from("<BBH", info)
        size = value if form == 4 else 0  # else the number stands in the place of the size
        yield kind, struct.unpack_from(f"<{size // 4}I", info, 4) if form == 4 else (value,)
        info = info[4 + size :]


@pytest.fixture(scope="module")
def compiler(emulation: Variables) -> Iterator[Gpu]:
    """A process with the emulated driver, and NVIDIA's own compiler."""
    if not list(contract_native._compilers()):
        pytest.skip("NVRTC is not here: pip install nvidia-cuda-nvrtc")
    gpu = Gpu(False, emulation | {"CHARLM_LIBNVRTC": "", "EMULATED_VERSION": "99000"})
    yield gpu
    gpu.close()


@pytest.mark.parametrize(
    ("model", "precision", "architecture", "kilobytes", "batch", "spilled"),
    [
        ("lovecraft", "float32", 75, 64, 2048, 0),
        ("lovecraft", "float32", 90, 227, 2048, 0),
        ("lovecraft", "float32", 100, 227, 1, 16),
        ("lovecraft", "fp16", 90, 227, 2048, 0),
        ("lovecraft-large", "float32", 90, 227, 2048, 0),
        ("lovecraft-large", "fp16", 100, 227, 1, 0),
        ((28, 160, 1), "fp16", 90, 227, 2048, 0),
    ],
)
def test_nvidias_compiler_keeps_what_a_thread_has_in_registers(
    compiler: Gpu,
    made: Made,
    tmp_path: Path,
    model: str | tuple[int, int, int],
    precision: str,
    architecture: int,
    kilobytes: int,
    batch: int,
    spilled: int,
) -> None:
    """But for so many bytes. The driver refuses what takes more shared memory than there is."""
    path = shipped_model(model) if isinstance(model, str) else made(*model)
    variables = {
        "CHARLM_CACHE": str(tmp_path),
        "EMULATED_ARCHITECTURE": str(architecture),
        "EMULATED_SHARED": str(kilobytes << 10),
        "EMULATED_PROCESSORS": "16",
    }
    feed, kernels, wanted = feed_of(path, batch, 1, 0), set(), {"charlm_run"}
    for clusters in ("0", "1") if architecture >= 90 else ("0",):
        own = variables | {"CHARLM_CLUSTERS": clusters}
        (outcome,) = compiler(run, path, "cuda", precision, feed, variables=own)
        assert LOGITS in outcome
    if architecture >= 90:
        wanted.add("charlm_alone")
        if precision == "fp16" and architecture == 90:
            wanted.add("charlm_persistent")
    for program in tmp_path.glob(f"*-sm_{architecture}.program"):
        found = sections(program.read_bytes())
        (kernel,) = (name[6:] for name in found if name.startswith(".text.charlm"))
        kernels.add(kernel)
        info = [*attributes(found[".nv.info"][1]), *attributes(found[f".nv.info.{kernel}"][1])]
        frames = [numbers[1] for kind, numbers in info if kind == FRAME]
        ((_, registers),) = (numbers for kind, numbers in info if kind == REGISTERS)
        ((threads, *_),) = (numbers for kind, numbers in info if kind == THREADS)
        assert max(frames) <= (spilled if kernel == "charlm_run" else 0)
        assert registers * threads <= 1 << 16
        assert found.get(f".nv.shared.{kernel}", (0,))[0] <= RESERVED
    assert kernels == wanted
