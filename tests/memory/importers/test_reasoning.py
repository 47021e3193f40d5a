import pytest

from memory.importers.reasoning import split


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        ("<think>two and two</think>\n\nFour.", "Four.", "two and two"),
        ("<THINKING>hm</THINKING>Four.", "Four.", "hm"),
        ("Well. <think>hm</think> Four.", "Well.  Four.", "hm"),
        ("Four.\n<think>was that right", "Four.", "was that right"),
        ("<think>never ends", "", "never ends"),
        ("two and two</think>Four.", "Four.", "two and two"),
        ("<think>a <think>b</think> c</think>Four.", "Four.", "a <think>b\n\nc"),
        ("<think>a</think>So <think>b</think>four.", "So four.", "a\n\nb"),
        ("<|begin_of_thought|>hm<|end_of_thought|>Four.", "Four.", "hm"),
        (
            '<details type="reasoning" done="true" duration="3">\n<summary>Thought for 3 seconds</summary>\n'
            "&gt; two\n&gt; and two\n</details>\nFour.",
            "Four.",
            "two\nand two",
        ),
        ('<details type="tool_calls" name="clock">12:00</details>\nNoon.', "Noon.", ""),
        (":::thinking\ntwo and two\n:::\n\nFour.", "Four.", "two and two"),
    ],
)
def test_reasoning_is_told_apart_from_the_answer(text: str, answer: str, reasoning: str) -> None:
    found = split(text)

    assert (found.answer, found.reasoning) == (answer, reasoning)


@pytest.mark.parametrize(
    "text",
    [
        "  An answer without tags keeps its spaces. ",
        "a < b and b > c",
        "Write `<think>` around it.",
        "```html\n<think>an example</think>\n```\nis how it looks.",
        "<details><summary>More</summary>text</details>",
        "<thinker>no tag of ours</thinker>",
    ],
)
def test_an_answer_without_reasoning_comes_back_unchanged(text: str) -> None:
    found = split(text)

    assert (found.answer, found.reasoning) == (text, "")
