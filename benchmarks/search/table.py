"""The trials as a Markdown table: what was changed, what it cost, what it came to."""

from charlm.benchmarks.search.variant import Result

HEADING = (
    "| changed | epochs | seed | parameters | CPU s | train | validation | test |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|"
)


def as_markdown(results: list[Result]) -> str:
    """One row a trial, in the order in which they were run."""
    return "\n".join([HEADING, *map(_row, results)])


def _row(result: Result) -> str:
    variant = result.variant
    changed = ", ".join(
        part for part in str(variant).split(",") if not part.startswith(("epochs=", "seed="))
    )
    test = "" if result.test_bits is None else f"{result.test_bits:.4f}"
    return (
        f"| {changed or 'defaults'} | {variant.epochs} | {variant.seed} | {result.parameters:,} "
        f"| {result.cpu_seconds:,.0f} | {result.train_bits:.4f} "
        f"| {result.validation_bits:.4f} | {test} |"
    )
