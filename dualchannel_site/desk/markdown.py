"""Markdown of conversations as HTML that cannot run, load or imitate anything.

A conversation is written by people and models whom nobody vouches for. Three doors stand between it and the page: the
parser takes no HTML and knows no images, links lead to whole addresses of three schemes alone, and what it made passes
a sanitiser that keeps a short list of tags.
"""

from __future__ import annotations

import nh3
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

# Characters that are read as Markdown; a longer text is shown as it is. The parser needs up to a second for a hostile
# text of this length, and tens of milliseconds for one that a person wrote.
MARKDOWN_MAX_CHARACTERS = 20_000
# Lists and quotations within each other. The parser would leave out what lies deeper: such a text is shown as it is.
MAX_NESTING = 40
LINK_SCHEMES = frozenset({"http", "https", "mailto"})
TAGS = frozenset(
    {
        *("p", "br", "hr", "strong", "em", "s", "blockquote", "ul", "ol", "li", "code", "pre", "a"),
        *("h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
    }
)
# Headings of a text are parts of a page that has a title and sections of its own.
HEADING_OFFSET = 2


class _ConversationMarkdown(MarkdownIt):
    """CommonMark with tables and strikethrough, without HTML and images; line breaks stay where they were written.

    Nor does it know definitions of links: they vanish from the page, and nobody could read there what is trained.
    """

    def __init__(self) -> None:
        super().__init__("commonmark", {"html": False, "breaks": True, "maxNesting": MAX_NESTING})
        self.enable(["table", "strikethrough"]).disable(["image", "reference"])

    def validateLink(self, url: str) -> bool:  # noqa: N802 - the parser's name for it
        """Return whether `url` is a whole address of an allowed scheme; the others stay text."""
        scheme, colon, _ = url.partition(":")
        return bool(colon) and scheme.lower() in LINK_SCHEMES


_PARSER = _ConversationMarkdown()
_SANITISER = nh3.Cleaner(
    tags=set(TAGS),
    attributes={"a": {"href", "title"}, "ol": {"start"}},
    url_schemes=set(LINK_SCHEMES),
    url_relative="deny",
    link_rel="noopener nofollow",
)


def render_markdown(text: str) -> SafeString:
    """Return `text` as HTML for a page; what is no Markdown in it is escaped.

    A text of more than `MARKDOWN_MAX_CHARACTERS` characters, or one that is nested too deep, comes back escaped, with
    its line breaks kept.
    """
    # Half of a surrogate pair, which an export may hold, has no bytes that a page could be sent in.
    sendable = text.encode("utf-8", "replace").decode("utf-8")
    tokens = _PARSER.parse(sendable) if len(sendable) <= MARKDOWN_MAX_CHARACTERS else []
    if not tokens or any(token.level >= MAX_NESTING - 1 for token in tokens):
        return format_html('<pre class="desk-markdown desk-markdown--plain">{}</pre>', sendable)
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, int(token.tag[1]) + HEADING_OFFSET)}"
    made = _PARSER.renderer.render(tokens, _PARSER.options, {})
    return mark_safe(f'<div class="desk-markdown">{_SANITISER.clean(made)}</div>')  # noqa: S308 - just sanitised
