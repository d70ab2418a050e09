"""The report laid out: as one HTML page that holds all it shows, and as Markdown."""

import html
import re
from collections.abc import Collection, Mapping

from charlm.data.pages import inline_svg, markup
from charlm.data.pages.markdown import lay_out as markdown_table
from charlm.data.pages.style import BASE
from charlm.train.report import picture
from charlm.train.report.measure import Evidence
from charlm.train.report.sections import Quote, Section, sections, verdict

CSS = (
    BASE
    + """
.verdict { font-size: 1.15rem; }
.advice li { margin: .5rem 0; }
.advice code { display: block; overflow-x: auto; padding: .3rem .6rem; background: var(--tint); }
blockquote {
  margin: .2rem 0 1rem; padding: .5rem .8rem; border-left: 3px solid var(--rule);
  background: var(--tint); white-space: pre-wrap; overflow-wrap: anywhere; max-width: 46rem;
  font-family: ui-monospace, monospace; font-size: .85rem;
}
figure.broad svg { max-width: 60rem; }
"""
)
BROAD = ("training", "drift")


def html_page(evidence: Evidence, pictures: Mapping[str, bytes]) -> str:
    """The page; the same evidence gives the same bytes."""
    title = _visible(f"charlm report: {evidence.name}")
    head = (
        f"<header><h1>{html.escape(title)}</h1>\n"
        f"<p class=verdict>{html.escape(verdict(evidence))}</p>\n"
        f"<p class=quiet>{html.escape(evidence.about['model'])}; "
        f"{html.escape(evidence.about['text'])}</p></header>"
    )
    body = "\n".join([head, *(_html_section(each, pictures) for each in sections(evidence))])
    return markup.document(title, CSS, body)


def _html_section(section: Section, pictures: Mapping[str, bytes]) -> str:
    parts = [markup.paragraph(text) for text in section.says]
    if section.advice:
        parts.append(_advice(section))
    if section.picture and section.picture[0] in pictures:
        parts.append(_figure(*section.picture, pictures))
    if section.table is not None:
        laid = markup.lay_out(section.table)
        folded = f"<details><summary>The figures</summary>{laid}</details>"
        parts.append(folded if section.folded and laid else laid)
    for quote in section.quotes:
        parts.append(
            f"<h3>{html.escape(quote.title)}</h3>"
            f"<blockquote>{html.escape(_visible(quote.text))}</blockquote>"
        )
    return markup.section(section.title, *parts) if parts else ""


def _figure(name: str, label: str, pictures: Mapping[str, bytes]) -> str:
    drawn = inline_svg.inline(pictures[name], name, html.escape(label))
    kind = " class=broad" if name in BROAD else ""
    return f"<figure{kind}>{drawn}</figure>"


def _advice(section: Section) -> str:
    found = "".join(
        f"<li><strong>{html.escape(each.what)}</strong>: {html.escape(each.because)}."
        f"{f'<code>{html.escape(each.command)}</code>' if each.command else ''}</li>\n"
        for each in section.advice
    )
    return f"<ol class=advice>\n{found}</ol>"


def _visible(text: str) -> str:
    """Without the control characters that no page may hold."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def markdown(evidence: Evidence, pictures: Collection[str]) -> str:
    """The report, ready to be read on its own.

    Args:
        evidence: what was measured.
        pictures: those that were drawn, by the names of `report.PICTURES`.
    """
    parts = [f"# charlm report: {evidence.name}", verdict(evidence)]
    for section in sections(evidence):
        parts += _markdown_section(section, pictures)
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_section(section: Section, pictures: Collection[str]) -> list[str]:
    parts = [f"## {section.title}", *section.says]
    if section.advice:
        parts.append("\n".join(
            f"1. **{each.what}**: {each.because}."
            + (f"\n   `{each.command}`" if each.command else "")
            for each in section.advice
        ))  # fmt: skip
    if section.picture and section.picture[0] in pictures:
        name, label = section.picture
        parts.append(f"![{label}]({picture(name)})")
    if section.table is not None:
        parts.append(markdown_table(section.table))
    return parts + [_quote(quote) for quote in section.quotes]


def _quote(quote: Quote) -> str:
    """A text between fences that are longer than any that it holds."""
    longest = max((len(run) for run in re.findall("`+", quote.text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{quote.title}:\n\n{fence}text\n{quote.text}\n{fence}"
