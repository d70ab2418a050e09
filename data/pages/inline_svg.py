"""A picture as part of a page: no prolog, ids of its own, colours that follow the page's theme."""

import re

from charlm.data.pages.picture import COLOURS, FAINT, INK, PALE

THEME = {
    INK: "var(--ink)",
    FAINT: "var(--rule)",
    PALE: "var(--other)",
    **{colour: f"var(--line-{n})" for n, colour in enumerate(COLOURS)},
}


def inline(svg: bytes, prefix: str, label: str) -> str:
    """The `<svg>` element of a picture that matplotlib drew.

    Args:
        svg: the file.
        prefix: of its ids, which must not meet another picture's.
        label: what it shows, for those who can't see it.
    """
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<style>@media.*?</style>\s*", "", text, flags=re.DOTALL)  # the page has a theme
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'((?:xlink:)?href="|url\()#', rf"\g<1>#{prefix}-", text)
    for colour, variable in THEME.items():
        text = text.replace(colour, variable)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", text)
    opening = f'<svg role="img" aria-label="{label}"'
    text = re.sub(r'<svg\b[^>]*?(viewBox="[^"]*")[^>]*>', rf"{opening} \1>", text, count=1)
    return text.strip()
