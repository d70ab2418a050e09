"""The playground as a folder for any static host: ONNX Runtime's WebAssembly runs the model."""

import json
from dataclasses import dataclass
from pathlib import Path

from charlm.data.system.errors import ExportError
from charlm.data.system.files import os_errors_as, write_set
from charlm.export.contract import KEY_KIND, PLAYGROUND, Metadata, read_model_bytes
from charlm.export.contract.native import properties_of
from charlm.export.hosts.folder import check_free

RUNTIME = Path("node_modules", "onnxruntime-web")
# Its files and their names here: some hosts do not know `.mjs` for a script.
RUNTIME_FILES = {"ort.wasm.bundle.min.mjs": "ort.js", "ort-wasm-simd-threaded.wasm": "ort.wasm"}
PAGE, STATIC = "index.html", "static"  # all else stands in a folder beside the page
CONFIG, MODEL, METADATA = "config.js", "model.onnx", "model.json"
SERVED_ONLY = "server.js"


@dataclass(frozen=True)
class WebPage:
    """A page that needs no server of ours: the playground, ONNX Runtime and a model.

    Attributes:
        folder: where it is to stand.
        files: but for the model's, by their names.
    """

    folder: Path
    files: dict[str, bytes]

    @classmethod
    def of(cls, folder: Path, runtime: Path = RUNTIME) -> "WebPage":
        """Read the files, and see that the folder is free.

        Args:
            folder: is made where there is none; it may hold an earlier page, and nothing else.
            runtime: npm's package onnxruntime-web.

        Raises:
            ExportError: ONNX Runtime's files are not there, or the folder holds other things.
        """
        with os_errors_as(ExportError, f"can't read {PLAYGROUND}"):
            files = {path.name: path.read_bytes() for path in PLAYGROUND.iterdir()}
        del files[SERVED_ONLY]
        names = {*files, *RUNTIME_FILES.values(), MODEL, METADATA} - {PAGE}
        static = Path(STATIC)
        check_free(folder, [Path(PAGE), *(static / name for name in names)], [static / CONFIG])
        for name, ours in RUNTIME_FILES.items():
            path = runtime / "dist" / name
            if not path.is_file():
                raise ExportError(
                    f"{path} is missing: npm install onnxruntime-web, or name that package's "
                    "folder with `ort_web`"
                )
            with os_errors_as(ExportError, f"can't read {path}"):
                files[ours] = path.read_bytes()
        return cls(folder, files)

    def write(self, model: Path | None) -> tuple[Path, int]:
        """Write the page of a model.

        Args:
            model: a model file, or the name of one that ships; None: `./model.onnx`, or the one
                that ships.

        Returns:
            The model file, and the bytes written.

        Raises:
            ModelFileError: the model can't be read, or is not one.
            ExportError: the folder can't be written.
        """
        from charlm.infer.model.shipped import find_model

        path = find_model(model)
        content = read_model_bytes(path)
        properties = properties_of(content, str(path))
        metadata = Metadata.from_properties(properties, str(path))
        if kind := properties.get(KEY_KIND):
            raise ExportError(f"{path} is a {kind} graph: name the model that it stands beside")
        config = json.dumps({"backend": "local", "model": MODEL, "name": path.stem})
        files = self.files | {
            CONFIG: f"export default {config};\n".encode(),
            MODEL: content,
            METADATA: metadata.to_json().encode(),
        }
        static = self.folder / STATIC
        with os_errors_as(ExportError, f"can't write {self.folder}"):
            static.mkdir(parents=True, exist_ok=True)
            write_set({static / name: each for name, each in files.items() if name != PAGE})
            write_set({self.folder / PAGE: files[PAGE]})
        return path, sum(map(len, files.values()))
