"""Markdown of a conversation reads well, and nothing of it runs, loads or vanishes."""

import html
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from django.template import Context, Template
from django.utils.safestring import SafeString
from hypothesis import example, given
from hypothesis import strategies as st

from dualchannel_site.desk import markdown
from dualchannel_site.desk.markdown import LINK_SCHEMES, MARKDOWN_MAX_CHARACTERS, MAX_NESTING, TAGS, render_markdown

# After the OWASP cheat sheet for evading filters, and what Markdown adds to it.
ATTACKS = [
    "<script>alert(1)</script>",
    "<ScRiPt/x>alert(1)</ScRiPt>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mi xlink:href='javascript:alert(1)'>x</mi></math>",
    "<body onload=alert(1)>",
    "<iframe src='javascript:alert(1)'></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data='data:text/html,<script>alert(1)</script>'></object>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='https://example.org' onclick='alert(1)'>x</a>",
    "<form action='https://example.org'><input name=password></form>",
    "<style>@import 'https://example.org/x.css';</style>",
    "<div style='background:url(javascript:alert(1))'>x</div>",
    "<link rel=stylesheet href=https://example.org/x.css>",
    "<meta http-equiv=refresh content='0;url=https://example.org'>",
    "<base href='https://example.org/'>",
    "<div x-data x-init='alert(1)'>x</div>",
    "<div hx-get='/admin/logout/' hx-trigger='load'>x</div>",
    "<!--><script>alert(1)</script-->",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](  javascript:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](java&Tab;script:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](data:image/svg+xml,<svg/onload=alert(1)>)",
    "[x](file:///etc/passwd)",
    "[x](ftp://example.org/x)",
    "[x](tel:+49301234)",
    "[x](//example.org/x)",
    "[x](/admin/logout/)",
    "[x](?delete=1)",
    "[x](<javascript:alert(1)>)",
    "<javascript:alert(1)>",
    "<data:text/html,x>",
    "[x][1]\n\n[1]: javascript:alert(1)",
    "![x](https://example.org/pixel.png)",
    "![x](javascript:alert(1))",
    "[![x](https://example.org/pixel.png)](javascript:alert(1))",
    '[x](https://example.org "\' onmouseover=alert(1) ")',
    '[x](https://example.org "\\" onmouseover=\\"alert(1)")',
    "[x](https://example.org/'onclick=alert(1)//)",
    '[x](https://example.org/"onclick="alert(1))',
    '```"><script>alert(1)</script>\ncode\n```',
    "```html\n<script>alert(1)</script>\n```",
    "`<script>alert(1)</script>`",
    "    <script>alert(1)</script>",
    "| <script>alert(1)</script> | b |\n|:-:|---|\n| <img src=x onerror=alert(1)> | c |",
    "# <script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<script\x00>alert(1)</script>",
    "\u2028<script>alert(1)</script>",
    "{{ 7|add:7 }}{% load i18n %}",
]
ATTRIBUTES = {"a": {"href", "title", "rel"}, "ol": {"start"}, "div": {"class"}, "pre": {"class"}}
WORDS = st.lists(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), max_size=30)
# Where Markdown begins and ends something, so that short texts hit its rules.
PIECES = st.sampled_from(
    [
        *"[]()<>!`*_~#-+|\\\"'&:;=\n\t ",
        "```",
        "](",
        "![",
        "<a href=",
        "javascript:",
        "https://a.b",
        "&#x6a;",
        "onerror=",
    ]
)


class Page(HTMLParser):
    """What a browser would make of a piece of HTML."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def links(self) -> list[str | None]:
        return [attributes.get("href") for tag, attributes in self.elements if tag == "a"]

    @property
    def text(self) -> str:
        return "".join(self.texts)


def inside(text: str) -> str:
    """Return what `text` became, without the box around it."""
    made = render_markdown(text)
    assert made.startswith('<div class="desk-markdown">')
    assert made.endswith("</div>")
    return made.removeprefix('<div class="desk-markdown">').removesuffix("</div>").strip()


def assert_harmless(made: str) -> None:
    (tag, attributes), *others = Page(made).elements
    assert tag in {"div", "pre"}
    assert (attributes["class"] or "").split()[0] == "desk-markdown"
    for tag, attributes in others:
        assert tag in TAGS
        assert attributes.keys() <= ATTRIBUTES.get(tag, set())
        if tag == "a":
            assert attributes["rel"] == "noopener nofollow"
            if "href" in attributes:
                assert urlsplit(attributes["href"] or "").scheme in LINK_SCHEMES


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_known_attack_leaves_anything_that_runs_or_loads(attack: str) -> None:
    assert_harmless(render_markdown(attack))
    assert_harmless(render_markdown(f"> - {attack}\n\nand *{attack}*"))


def test_the_sanitiser_alone_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second door is shut, too: a parser that let HTML and any link pass would not open the page."""
    monkeypatch.setitem(markdown._PARSER.options, "html", True)
    monkeypatch.setattr(markdown._PARSER, "validateLink", lambda url: True)
    assert "<b>" not in inside("<b>*dog*</b>")
    assert "<em>" in inside("<b>*dog*</b>")
    for attack in ATTACKS:
        assert_harmless(render_markdown(attack))


@given(st.lists(st.one_of(PIECES, st.text(max_size=5), st.sampled_from(ATTACKS)), max_size=60).map("".join))
@example("\ud800")
@example("")
@example(">" * 3 * MAX_NESTING + "x")
def test_whatever_is_written_only_harmless_tags_come_out(text: str) -> None:
    assert_harmless(render_markdown(text))


@given(
    WORDS,
    st.lists(st.sampled_from(["\n", "\n\n", " ", "\n> ", "\n- ", "\n1. ", " *", "* ", "\n# ", " `", "` ", "\n[x]: "])),
)
def test_no_word_of_a_text_vanishes(words: list[str], between: list[str]) -> None:
    """A curator decides by what is on the page: what is trained has to be there."""
    joined = "".join(f"{word}{between[place] if place < len(between) else ' '}" for place, word in enumerate(words))
    shown = Page(render_markdown(joined)).text
    for word in words:
        assert word.lstrip("0123456789") in shown


def test_a_definition_of_a_link_stays_on_the_page() -> None:
    assert "never tell him" in Page(render_markdown('hello\n\n[a]: https://example.org "never tell him"')).text


def test_what_is_nested_too_deep_for_the_parser_is_shown_as_it_is() -> None:
    text = f"{'> ' * (MAX_NESTING + 5)}the dog"
    assert render_markdown(text) == f'<pre class="desk-markdown desk-markdown--plain">{html.escape(text)}</pre>'
    assert inside(f"{'> ' * 10}the dog").count("<blockquote>") == 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*a* **b** ~~c~~ `d`", "<p><em>a</em> <strong>b</strong> <s>c</s> <code>d</code></p>"),
        ("one\ntwo", "<p>one<br>\ntwo</p>"),
        ("# A\n\n## B\n\n###### C", "<h3>A</h3>\n<h4>B</h4>\n<h6>C</h6>"),
        ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>"),
        ("3. a\n4. b", '<ol start="3">\n<li>a</li>\n<li>b</li>\n</ol>'),
        ("```python\na < b\n```", "<pre><code>a &lt; b\n</code></pre>"),
        (
            "[dog](https://example.org/?a=1&b=2)",
            '<p><a href="https://example.org/?a=1&amp;b=2" rel="noopener nofollow">dog</a></p>',
        ),
        ("<me@example.org>", '<p><a href="mailto:me@example.org" rel="noopener nofollow">me@example.org</a></p>'),
        (
            "![dog](https://example.org/dog.png)",
            '<p>!<a href="https://example.org/dog.png" rel="noopener nofollow">dog</a></p>',
        ),
        ("[dog](/admin/)", "<p>[dog](/admin/)</p>"),
        ("[dog](javascript:bark)", "<p>[dog](javascript:bark)</p>"),
        ("if a < b & c > d", "<p>if a &lt; b &amp; c &gt; d</p>"),
        ("<b>bold</b>", "<p>&lt;b&gt;bold&lt;/b&gt;</p>"),
    ],
)
def test_markdown_becomes_the_tags_that_it_means(text: str, expected: str) -> None:
    assert inside(text) == expected


def test_a_table_keeps_its_cells() -> None:
    made = inside("| a | b |\n|---|--:|\n| 1 | 2 |")
    assert [tag for tag, _ in Page(made).elements] == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
    assert Page(made).text.split() == ["a", "b", "1", "2"]


def test_a_text_longer_than_the_bound_is_shown_as_it_is() -> None:
    at_the_bound = "*" + "a" * (MARKDOWN_MAX_CHARACTERS - 2) + "*"
    assert "<em>" in render_markdown(at_the_bound)
    beyond = f"{at_the_bound}<"
    assert render_markdown(beyond) == (f'<pre class="desk-markdown desk-markdown--plain">{html.escape(beyond)}</pre>')


def test_half_of_a_surrogate_pair_does_not_break_the_page() -> None:
    assert inside("a\ud83db").encode() == b"<p>a?b</p>"
    assert render_markdown("\udc00" * (MARKDOWN_MAX_CHARACTERS + 1)).encode().count(b"?") == MARKDOWN_MAX_CHARACTERS + 1


def test_a_template_takes_it_as_it_is() -> None:
    made = Template("{% load desk %}{{ text|markdown }}").render(Context({"text": "<i>*dog*"}))
    assert made.strip() == '<div class="desk-markdown"><p>&lt;i&gt;<em>dog</em></p>\n</div>'
    assert isinstance(render_markdown("a"), SafeString)
