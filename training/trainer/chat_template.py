"""Chats as the model's chat template renders them, for training and for asking alike."""

from collections.abc import Sequence
from typing import Any

from transformers import BatchEncoding, PreTrainedTokenizerBase

from training.datasets import Chat

# A model that can reason before it answers is trained and asked without: no pair holds any reasoning, and what is
# learned must begin where an answer begins. Templates that do not know the variable ignore it.
_VARIABLES = {"enable_thinking": False}


def chat_tokens(
    tokenizer: PreTrainedTokenizerBase, chats: Chat | Sequence[Chat], *, add_generation_prompt: bool, **options: Any
) -> BatchEncoding:
    """Return the tokens of a chat, or of several; `options` are those of `tokenizer.apply_chat_template`."""
    encoded: BatchEncoding = tokenizer.apply_chat_template(
        chats, add_generation_prompt=add_generation_prompt, return_dict=True, **options, **_VARIABLES
    )
    return encoded
