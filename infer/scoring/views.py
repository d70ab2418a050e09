"""Which ways of looking at a text's bits are asked for: colours, a page, a table."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from charlm.data.system.errors import SettingsError
from charlm.data.system.files import atomic_writer, os_errors_as
from charlm.infer.model import shipped
from charlm.infer.model.open import Model
from charlm.infer.scoring.predictions import Look

SUFFIXES = {"html": (".html", ".htm"), "tokens": (".jsonl", ".csv")}


@dataclass(frozen=True)
class Views:
    """Ways of looking at one text.

    Attributes:
        show: write it in colours on standard output.
        color: `always`, `never`, or `auto`: on a terminal, unless the environment has `NO_COLOR`.
        html: where a page of it goes.
        tokens: where each character goes with its bits and rank, as JSON Lines or CSV.
    """

    show: bool = False
    color: str = "auto"
    html: Path | None = None
    tokens: Path | None = None

    def __post_init__(self) -> None:
        if self.color not in ("auto", "always", "never"):
            raise SettingsError(f"`color` is auto, always or never, not {self.color!r}")
        if self.color != "auto" and not self.show:
            raise SettingsError("`color` is of the text that is shown: give `show`, too")
        for name, endings in SUFFIXES.items():
            path: Path | None = getattr(self, name)
            if path is not None and path.suffix.lower() not in endings:
                raise SettingsError(f"`{name}` takes a file that ends in {' or '.join(endings)}")

    @contextlib.contextmanager
    def opened(self, out: IO[str], model: Model, name: str) -> Iterator[list[Look]]:
        """What takes a text's stretches; files have their names once the block ends well.

        Raises:
            SettingsError: a file can't be written.
        """
        with contextlib.ExitStack() as stack:

            def file(path: Path) -> IO[bytes]:
                with os_errors_as(SettingsError, f"can't write {path}"):
                    if path.is_dir():
                        raise SettingsError(f"can't write {path}: it is a folder")
                    return stack.enter_context(atomic_writer(path))

            looks: list[Look] = []
            if self.tokens:
                from charlm.infer.scoring import tokens

                table = tokens.table(file(self.tokens), self.tokens.suffix, model.metadata)
                looks.append(stack.enter_context(table))
            if self.html:
                from charlm.infer.scoring import page

                about = shipped.describe(model.path)
                made = page.page(file(self.html), self.html, model.metadata, Path(name).name, about)
                looks.append(stack.enter_context(made))
            if self.show:
                from charlm.infer.scoring import show

                code = codes_of(self.color, os.environ, terminal=out.isatty())
                looks.append(stack.enter_context(show.coloured(out, model.metadata, code)))
            yield looks


def codes_of(color: str, environment: Mapping[str, str], *, terminal: bool) -> str:
    """How colours are written: `plain`, `256`, or `wide` where a terminal says that it has all."""
    if color == "auto":
        refused = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
        color = "always" if terminal and not refused else "never"
    if color == "never":
        return "plain"
    return "wide" if environment.get("COLORTERM") in ("truecolor", "24bit") else "256"
