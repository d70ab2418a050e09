"""The report as one HTML page that holds all it shows."""

import html
from collections.abc import Mapping

from charlm.data.pages import inline_svg, markup
from charlm.data.pages.style import BASE
from charlm.train.report.evidence import Evidence
from charlm.train.report.sections import Section, sections, verdict

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


def render(evidence: Evidence, pictures: Mapping[str, bytes]) -> str:
    """The page; the same evidence gives the same bytes."""
    title = _visible(f"charlm report: {evidence.name}")
    head = (
        f"<header><h1>{html.escape(title)}</h1>\n"
        f"<p class=verdict>{html.escape(verdict(evidence))}</p>\n"
        f"<p class=quiet>{html.escape(evidence.about['model'])}; "
        f"{html.escape(evidence.about['text'])}</p></header>"
    )
    body = "\n".join([head, *(_section(each, pictures) for each in sections(evidence))])
    return markup.document(title, CSS, body)


def _section(section: Section, pictures: Mapping[str, bytes]) -> str:
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
        f"<li><strong>{html.escape(what)}</strong>: {html.escape(because)}."
        f"{f'<code>{html.escape(command)}</code>' if command else ''}</li>\n"
        for what, because, command in section.advice
    )
    return f"<ol class=advice>\n{found}</ol>"


def _visible(text: str) -> str:
    """Without the control characters that no page may hold."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
