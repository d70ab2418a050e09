"""The corpora that charlm knows, as a table to read."""

from charlm.data.corpus import SAMPLE
from charlm.data.fetch import SOURCES, default_path


def catalogue() -> str:
    """One line a corpus: its name, its size in bytes, what it is, and how to have it."""
    rows = [
        ("sample", SAMPLE.stat().st_size, "stories that ship with charlm", "charlm-train"),
        *(
            (
                source.name,
                source.size,
                source.about,
                f"charlm-data fetch {source.name}  (to {default_path(source)})",
            )
            for source in SOURCES.values()
        ),
    ]
    return "\n".join(
        f"{name:<16} {size:>9,} bytes  {about:<32} {how}" for name, size, about, how in rows
    )
