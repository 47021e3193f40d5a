"""Text of others is shown as it is: it breaks no table, brings in no link, no image, no HTML."""

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from training.evaluation.markdown import escaped, table

PARSER = MarkdownIt("commonmark").enable("table")


def inline(text: str) -> list[Token]:
    """The tokens of a cell that holds the text, in a table of one column."""
    tokens = PARSER.parse(table(("head",), [(escaped(text, longest=500),)]))
    cells = [token for token in tokens if token.type == "inline"]
    assert len(cells) == 2
    assert [token.type for token in tokens].count("td_open") == 1
    return cells[1].children or []


@pytest.mark.parametrize(
    "text",
    [
        "a | b || c",
        "<script>alert(1)</script> <b>bold</b> <!-- gone -->",
        "&lt; &amp; &nbsp;",
        "[a link](https://example.com) and ![an image](x.png)",
        "<https://example.com> [reference][1] [1]: x",
        "*emphasis* __strong__ `code` ~~gone~~ $x$",
        "back\\slash \\| \\* at the end \\",
        "``` # no heading ``` --- > quote",
    ],
)
def test_markdown_shows_the_text_as_it_is(text: str) -> None:
    tokens = inline(text)
    assert {token.type for token in tokens} <= {"text", "text_special"}
    assert "".join(token.content for token in tokens) == text


@pytest.mark.parametrize("text", ["see https://example.com", "see www.example.com", "HTTP://EXAMPLE.COM"])
def test_an_address_is_not_recognised_as_one(text: str) -> None:
    written = escaped(text, longest=500)
    assert "://" not in written
    assert "www." not in written
    assert "".join(token.content for token in inline(text)) == text


def test_lines_become_one_and_unprinted_characters_go() -> None:
    assert escaped("one\n\n| two\r\n\tthree \x1b[31m\u202eback\x00", longest=500) == "one \\| two three \\[31mback"


def test_a_long_text_is_cut_before_it_is_escaped() -> None:
    assert escaped("||||||||||", longest=4) == "\\|\\|\\|…"
    assert escaped("four", longest=4) == "four"
    assert escaped("four words", longest=6) == "four…"


def test_a_table_has_a_cell_for_each_head() -> None:
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n|---|---|\n| 1 | 2 |"
