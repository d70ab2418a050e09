"""The report as Markdown, with its pictures beside it."""

import re
from collections.abc import Collection

from charlm.data.pages.markdown import lay_out
from charlm.train.report.evidence import Evidence
from charlm.train.report.files import picture
from charlm.train.report.sections import Quote, Section, sections, verdict


def render(evidence: Evidence, pictures: Collection[str]) -> str:
    """The report, ready to be read on its own.

    Args:
        evidence: what was measured.
        pictures: those that were drawn, by the names of `files.PICTURES`.
    """
    parts = [f"# charlm report: {evidence.name}", verdict(evidence)]
    for section in sections(evidence):
        parts += _section(section, pictures)
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(section: Section, pictures: Collection[str]) -> list[str]:
    parts = [f"## {section.title}", *section.says]
    if section.advice:
        parts.append("\n".join(
            f"1. **{what}**: {because}." + (f"\n   `{command}`" if command else "")
            for what, because, command in section.advice
        ))  # fmt: skip
    if section.picture and section.picture[0] in pictures:
        name, label = section.picture
        parts.append(f"![{label}]({picture(name)})")
    if section.table is not None:
        parts.append(lay_out(section.table))
    return parts + [_quote(quote) for quote in section.quotes]


def _quote(quote: Quote) -> str:
    """A text between fences that are longer than any that it holds."""
    longest = max((len(run) for run in re.findall("`+", quote.text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{quote.title}:\n\n{fence}text\n{quote.text}\n{fence}"
