"""A text's characters with their bits and ranks, as JSON Lines or CSV."""

import contextlib
import csv
import io
import json
from collections.abc import Iterator
from typing import IO

from charlm.export.contract import Metadata
from charlm.infer.scoring.predictions import Judged, Look

FIELDS = ("character", "bits", "rank")


@contextlib.contextmanager
def table(file: IO[bytes], suffix: str, metadata: Metadata) -> Iterator[Look]:
    """Takes a text's stretches and writes a line for each character, as they come.

    The first character, which is read and not predicted, has neither bits nor rank.
    """
    lines = io.TextIOWrapper(file, encoding="utf-8", newline="")
    rows, as_csv = csv.writer(lines, lineterminator="\n"), suffix.lower() == ".csv"
    if as_csv:
        rows.writerow(FIELDS)

    def take(judged: Judged) -> None:
        opening, characters = map(metadata.vocabulary.decode, (judged.opening, judged.ids))
        found = zip(characters, judged.bits.round(6).tolist(), judged.ranks.tolist(), strict=True)
        for row in (*((each, None, None) for each in opening), *found):
            if as_csv:
                rows.writerow(row)
            else:
                lines.write(json.dumps(dict(zip(FIELDS, row, strict=True))) + "\n")

    try:
        yield take
    finally:
        lines.detach()  # the file is the caller's to close
