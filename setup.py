"""Builds the native operator, once for each instruction set; all else stands in pyproject.toml.

Where there is no C++ compiler, or none of GCC's kind, charlm is installed without it, and works by
portable graphs, slower.
"""

import os
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

NATIVE = Path("infer", "native")
CUDA = NATIVE / "cuda"
COMMON = (  # the same for every instruction set
    "operator.cpp", "filters.cpp", "team.cpp", "cuda/driver.cpp", "cuda/gpu.cpp", "cuda/shapes.cpp",
)  # fmt: skip
KERNELS = "cpu/kernels.cpp"  # once for each
LIBRARY = {"darwin": "libcharlm.dylib", "win32": "charlm.dll"}.get(sys.platform, "libcharlm.so")
MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}.get(
    platform.machine().lower(), platform.machine().lower()
)
FLAGS = [
    "-std=c++17", "-O3", "-g0", "-fPIC", "-fvisibility=hidden",
    "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi",
    "-Wno-uninitialized", "-Wno-maybe-uninitialized",  # of GCC's own headers
]  # fmt: skip
INSTRUCTION_SETS = {
    "x86_64": {
        "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mfma",
                   "-mprefer-vector-width=512"],
        "avxvnni": ["-mavx2", "-mfma", "-mavxvnni"],
        "avx2": ["-mavx2", "-mfma"],
        "baseline": [],
    },
    "aarch64": {"neondot": ["-march=armv8.2-a+dotprod"], "neon": ["-march=armv8-a"]},
}  # fmt: skip


class BuildNative(build_ext):
    """Compiles the kernels for each instruction set, and links one library of them."""

    def get_ext_filename(self, fullname: str) -> str:
        """Where the library stands among the packages: no Python module, so no Python's suffix."""
        return str(Path(*fullname.split(".")[:-1], LIBRARY))

    def build_extension(self, ext: Extension) -> None:
        """Build it.

        Raises:
            CompileError: which setuptools reports and passes over, since the extension is optional.
        """
        sets = INSTRUCTION_SETS.get(MACHINE)
        if sets is None or self.compiler.compiler_type == "msvc":
            known = " and ".join(INSTRUCTION_SETS)
            raise CompileError(f"charlm's native operator is for GCC and Clang, on {known}")
        common = [f'-DCHARLM_CUDA="{CUDA.resolve()}"']
        jobs = [(source, common, "common") for source in COMMON]
        for name, flags in sets.items():
            jobs.append((KERNELS, [*flags, f"-DCHARLM_ISA={name}"], name))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = [
                each for made in pool.map(self._compiled, *zip(*jobs, strict=True)) for each in made
            ]
        target = self.get_ext_fullpath(ext.name)
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        libraries = ["dl"] if sys.platform == "linux" else []
        self.compiler.link_shared_object(objects, target, target_lang="c++", libraries=libraries)

    def _compiled(self, source: str, flags: list[str], folder: str) -> list[str]:
        made: list[str] = self.compiler.compile(
            [str(NATIVE / source)],
            output_dir=str(Path(self.build_temp, folder)),
            extra_postargs=[*FLAGS, *flags],
        )
        return made


class Wheel(bdist_wheel):
    """A wheel for any Python 3 on this platform: the library knows nothing of Python."""

    def get_tag(self) -> tuple[Any, Any, Any]:
        """Its tags."""
        return "py3", "none", super().get_tag()[2]


if __name__ == "__main__":
    if sys.platform == "darwin":  # not both of a universal Python's architectures at once
        os.environ.setdefault("ARCHFLAGS", f"-arch {platform.machine()}")
    sources = [(NATIVE / name).as_posix() for name in (*COMMON, KERNELS)]
    headers = sorted(path.as_posix() for path in (*NATIVE.rglob("*.h"), *NATIVE.rglob("*.cu")))
    library = Extension("charlm.infer.native.library", sources, depends=headers, optional=True)
    setup(ext_modules=[library], cmdclass={"build_ext": BuildNative, "bdist_wheel": Wheel})
