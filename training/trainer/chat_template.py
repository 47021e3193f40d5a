"""Chats as the model's chat template renders them, for training and for asking alike."""

from collections.abc import Sequence
from typing import Any

import jinja2
from transformers import BatchEncoding, PreTrainedTokenizerBase

from training.datasets import Chat

# A model that can reason before it answers is trained and asked without: no pair holds any reasoning, and what is
# learned must begin where an answer begins. Templates that do not know the variable ignore it.
_VARIABLES = {"enable_thinking": False}


def chat_tokens(
    tokenizer: PreTrainedTokenizerBase, chats: Chat | Sequence[Chat], *, add_generation_prompt: bool, **options: Any
) -> BatchEncoding:
    """Return the tokens of a chat, or of several; `options` are those of `tokenizer.apply_chat_template`.

    Raises:
        jinja2.TemplateError: the template refuses a chat.

    """
    encoded: BatchEncoding = tokenizer.apply_chat_template(
        chats, add_generation_prompt=add_generation_prompt, return_dict=True, **options, **_VARIABLES
    )
    return encoded


def refusal(tokenizer: PreTrainedTokenizerBase, prompt: Chat, answers: Sequence[Chat]) -> str | None:
    """Return why the template renders the prompt or one of the answers to it not, in its words; None where it does.

    Some know no system message, others nothing but turns of user and assistant.
    """
    try:
        tokenizer.apply_chat_template(_plain(prompt), tokenize=False, add_generation_prompt=True, **_VARIABLES)
        for answer in answers:
            tokenizer.apply_chat_template(_plain([*prompt, *answer]), tokenize=False, **_VARIABLES)
    except jinja2.TemplateError as error:
        return " ".join(str(error).split())
    return None


def _plain(chat: Chat) -> list[dict[str, str]]:
    return [dict(message) for message in chat]
