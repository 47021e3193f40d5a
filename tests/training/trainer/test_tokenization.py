"""The completion is told apart from its prompt whatever the chat template does."""

import logging

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from training.trainer.tokenization import Tokenization

PROMPT = [{"role": "user", "content": "my dog"}]
ANSWER = [{"role": "assistant", "content": "is called Pixel"}]


@pytest.fixture
def tokenizer(tiny_model_path: str) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny_model_path)


def test_prompt_and_answer_are_the_whole_chat(tokenizer: PreTrainedTokenizerBase) -> None:
    prompt_ids, (answer_ids,) = Tokenization(tokenizer, max_length=128).prompt_and_answers(PROMPT, [ANSWER])
    assert tokenizer.decode(prompt_ids) == "<s>user\nmy dog</s>\n<s>assistant\n"
    assert tokenizer.decode(answer_ids) == "is called Pixel</s>\n"


def test_two_answers_share_one_prompt(tokenizer: PreTrainedTokenizerBase) -> None:
    other = [{"role": "assistant", "content": "what a wonderful question"}]
    prompt_ids, answers = Tokenization(tokenizer, max_length=128).prompt_and_answers(PROMPT, [ANSWER, other])
    assert [tokenizer.decode(ids) for ids in answers] == ["is called Pixel</s>\n", "what a wonderful question</s>\n"]
    assert tokenizer.decode(prompt_ids).endswith("<s>assistant\n")


def test_a_prompt_that_is_no_prefix_is_cut_where_they_part_and_said_once(
    tokenizer: PreTrainedTokenizerBase, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer.chat_template = tokenizer.chat_template.replace("'<s>assistant\n'", "'<s>assistant\nplain '")
    tokenization = Tokenization(tokenizer, max_length=128)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            prompt_ids, (answer_ids,) = tokenization.prompt_and_answers(PROMPT, [ANSWER])
    assert tokenizer.decode(prompt_ids + answer_ids) == "<s>user\nmy dog</s>\n<s>assistant\nis called Pixel</s>\n"
    assert tokenizer.decode(prompt_ids).endswith("<s>assistant\n")
    assert len(caplog.records) == 1
    assert "plain" in caplog.text


def test_a_long_answer_is_cut_at_its_end(tokenizer: PreTrainedTokenizerBase) -> None:
    long_answer = [{"role": "assistant", "content": "number " * 200}]
    prompt_ids, (answer_ids,) = Tokenization(tokenizer, max_length=64).prompt_and_answers(PROMPT, [long_answer])
    assert len(prompt_ids) + len(answer_ids) == 64
    assert tokenizer.decode(prompt_ids).startswith("<s>user\nmy dog")


def test_a_long_prompt_loses_its_beginning_and_leaves_room_for_the_answer(tokenizer: PreTrainedTokenizerBase) -> None:
    long_prompt = [{"role": "user", "content": "number " * 200 + "my dog"}]
    prompt_ids, (answer_ids,) = Tokenization(tokenizer, max_length=64).prompt_and_answers(long_prompt, [ANSWER])
    assert len(prompt_ids) + len(answer_ids) <= 64
    assert tokenizer.decode(prompt_ids).endswith("my dog</s>\n<s>assistant\n")
    assert tokenizer.decode(answer_ids) == "is called Pixel</s>\n"


def test_a_model_that_can_reason_is_trained_where_its_answer_begins(tokenizer: PreTrainedTokenizerBase) -> None:
    """As Qwen3's template: the generation prompt leaves room for reasoning unless told otherwise."""
    tokenizer.chat_template = (
        "{% for message in messages %}{{ '<s>' + message['role'] + '\n' }}"
        "{% if message['role'] == 'assistant' and loop.last %}{{ '<think></think>' }}{% endif %}"
        "{{ message['content'] + '</s>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<s>assistant\n' }}"
        "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think></think>' }}{% endif %}{% endif %}"
    )
    prompt_ids, (answer_ids,) = Tokenization(tokenizer, max_length=128).prompt_and_answers(PROMPT, [ANSWER])
    assert tokenizer.decode(prompt_ids) == "<s>user\nmy dog</s>\n<s>assistant\n<think></think>"
    assert tokenizer.decode(answer_ids) == "is called Pixel</s>\n"
