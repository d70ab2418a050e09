"""The report laid out: as one HTML page that holds all it shows, and as Markdown."""

import html
import re
from collections.abc import Mapping

from charlm.data.pages import inline_svg, markup
from charlm.data.pages.markdown import lay_out as markdown_table
from charlm.data.pages.style import BASE
from charlm.data.pages.table import Row, table
from charlm.train.report import sections as content
from charlm.train.report.measure import Evidence
from charlm.train.report.sections import Quote, Section

CSS = (
    BASE
    + """
p, li, blockquote, figure, .strip, .advice, nav { max-width: 46rem; }
.verdict { font-size: 1.15rem; }
.advice li { margin: .5rem 0; }
.advice code { display: block; overflow-x: auto; padding: .3rem .6rem; background: var(--tint); }
blockquote {
  margin: .2rem 0 1rem; padding: .5rem .8rem; border-left: 3px solid var(--rule);
  background: var(--tint); white-space: pre-wrap; overflow-wrap: anywhere;
  font-family: ui-monospace, monospace; font-size: .85rem;
}
.strip { display: grid; grid-template-columns: repeat(4, 1fr); gap: .6rem; margin: 1rem 0; }
.strip div { border: 1px solid var(--rule); padding: .5rem .7rem; }
.strip dt, .strip .beside { color: var(--quiet); font-size: .8rem; margin: 0; }
.strip dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.strip .beside { font-size: .8rem; }
nav { font-size: .9rem; }
nav a { color: var(--ours); margin-right: 1rem; display: inline-block; }
figure svg { max-width: none; }
.panels { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
@media (max-width: 46rem) {
  .strip { grid-template-columns: 1fr 1fr; }
  .panels { grid-template-columns: 1fr; gap: 0; }
}
"""
)


def html_page(evidence: Evidence, pictures: Mapping[str, bytes]) -> str:
    """The page; the same evidence gives the same bytes."""
    title = _visible(f"charlm report: {evidence.name}")
    every = content.sections(evidence)
    links = "\n".join(
        f'<a href="#{_anchor(each.title)}">{html.escape(each.title)}</a>' for each in every
    )
    body = [
        f"<header><h1>{html.escape(title)}</h1>\n"
        f"<p class=quiet>{html.escape(evidence.made)}; "
        f"{html.escape(evidence.about['model'])}; {html.escape(evidence.about['text'])}</p>\n"
        f"<p class=verdict>{html.escape(content.verdict(evidence))}</p></header>",
        _quote_html(content.headline_sample(evidence)),
        _strip(evidence),
        f"<nav aria-label=Contents>{links}</nav>",
        *(_html_section(each, pictures) for each in every),
    ]
    return markup.document(title, CSS, "\n".join(body))


def _strip(evidence: Evidence) -> str:
    found = "".join(
        f"<div><dt>{html.escape(each.name)}</dt><dd>{html.escape(each.value)}</dd>"
        f"<dd class=beside>{html.escape(each.beside)}</dd></div>\n"
        for each in content.key_figures(evidence)
    )
    return f"<dl class=strip>\n{found}</dl>"


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z]+", "-", title.lower()).strip("-")


def _html_section(section: Section, pictures: Mapping[str, bytes]) -> str:
    parts = [markup.paragraph(text) for text in section.says]
    if section.advice:
        parts.append(_advice(section))
    figures = [
        f"<figure>{inline_svg.inline(pictures[name], name, html.escape(label))}</figure>"
        for name, label in section.pictures
        if name in pictures
    ]
    if len(figures) > 1:
        figures = [f"<div class=panels>{''.join(figures)}</div>"]
    parts += figures
    if section.table is not None:
        laid = markup.lay_out(section.table)
        folded = f"<details><summary>The figures</summary>{laid}</details>"
        parts.append(folded if section.folded and laid else laid)
    parts += [_quote_html(quote) for quote in section.quotes]
    laid = markup.section(section.title, *parts) if parts else ""
    return laid.replace("<section>", f"<section id={_anchor(section.title)}>", 1)


def _quote_html(quote: Quote) -> str:
    return (
        f"<h3>{html.escape(quote.title)}</h3>"
        f"<blockquote>{html.escape(_visible(quote.text))}</blockquote>"
    )


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


def markdown(evidence: Evidence) -> str:
    """The report as text, ready to be read on its own; the pictures are in the page."""
    found = content.key_figures(evidence)
    strip = table([each.name for each in found], [Row(tuple(each.value for each in found))])
    parts = [
        f"# charlm report: {evidence.name}",
        evidence.made,
        content.verdict(evidence),
        _quote(content.headline_sample(evidence)),
        markdown_table(strip),
    ]
    for section in content.sections(evidence):
        parts += _markdown_section(section)
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_section(section: Section) -> list[str]:
    parts = [f"## {section.title}", *section.says]
    if section.advice:
        parts.append("\n".join(
            f"1. **{each.what}**: {each.because}."
            + (f"\n   `{each.command}`" if each.command else "")
            for each in section.advice
        ))  # fmt: skip
    if section.table is not None:
        parts.append(markdown_table(section.table))
    return parts + [_quote(quote) for quote in section.quotes]


def _quote(quote: Quote) -> str:
    """A text between fences that are longer than any that it holds."""
    longest = max((len(run) for run in re.findall("`+", quote.text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{quote.title}:\n\n{fence}text\n{quote.text}\n{fence}"
