"""Which ways of looking at a text's bits are asked for: colours, a page, a table."""

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from charlm.data.system.errors import SettingsError
from charlm.data.system.files import atomic_writer, os_errors_as, writing
from charlm.export.contract import Metadata
from charlm.infer.model import shipped
from charlm.infer.model.open import Model
from charlm.infer.scoring.predictions import Judged, Look

FIELDS = ("character", "bits", "rank")  # of each line of the table
SUFFIXES = {"html": (".html", ".htm"), "tokens": (".jsonl", ".csv")}


@dataclass(frozen=True)
class Views:
    """Ways of looking at one text.

    Attributes:
        color: `always`, `never`, or `auto`: on a terminal, unless the environment has `NO_COLOR`.
        tokens: where each character goes with its bits and rank, as JSON Lines or CSV.
    """

    show: bool = False  # write it in colours on standard output
    color: str = "auto"
    html: Path | None = None  # where a page of it goes
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
            SettingsError: a file can't be made.
            OSError: the disk is full.
        """
        with contextlib.ExitStack() as stack:

            def file(path: Path) -> IO[bytes]:
                with os_errors_as(SettingsError, f"can't write {path}"):
                    return stack.enter_context(atomic_writer(path))

            looks: list[Look] = []
            if self.tokens:
                table = _table(file(self.tokens), self.tokens, model.metadata)
                looks.append(stack.enter_context(table))
            if self.html:
                from charlm.infer.scoring import page

                about = shipped.describe(model.path)
                made = page.page(file(self.html), self.html, model.metadata, Path(name).name, about)
                looks.append(stack.enter_context(made))
            if self.show:
                from charlm.infer.scoring import show

                code = show.codes_of(self.color, os.environ, terminal=out.isatty())
                looks.append(stack.enter_context(show.coloured(out, model.metadata, code)))
            yield looks


@contextlib.contextmanager
def _table(file: IO[bytes], path: Path, metadata: Metadata) -> Iterator[Look]:
    """Takes a text's stretches and writes a line for each character, as they come.

    The first character, which is read and not predicted, has neither bits nor rank.
    """
    lines = io.TextIOWrapper(file, encoding="utf-8", newline="")
    rows, as_csv = csv.writer(lines, lineterminator="\n"), path.suffix.lower() == ".csv"
    if as_csv:
        rows.writerow(FIELDS)

    def take(judged: Judged) -> None:
        opening, characters = map(metadata.vocabulary.decode, (judged.opening, judged.ids))
        found = zip(characters, judged.bits.round(6).tolist(), judged.ranks.tolist(), strict=True)
        with writing(path):
            for row in (*((each, None, None) for each in opening), *found):
                if as_csv:
                    rows.writerow(row)
                else:
                    lines.write(json.dumps(dict(zip(FIELDS, row, strict=True))) + "\n")

    try:
        yield take
    finally:
        with writing(path):
            lines.detach()  # the file is the caller's to close
