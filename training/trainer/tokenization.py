"""From chats to token ids, the completion apart from its prompt."""

import logging
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from training.datasets import Chat
from training.trainer.chat_template import chat_tokens
from training.trainer.packing import common_prefix

logger = logging.getLogger(__name__)


class Tokenization:
    """Tokenises prompts with their answers through the model's chat template, the way TRL does.

    Where the tokens of the prompt alone are not a prefix of those of prompt and answer, the answer starts where
    they part, and the log says so once.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self._warned = False

    def prompt_and_answers(self, prompt: Chat, answers: Sequence[Chat]) -> tuple[list[int], list[list[int]]]:
        """Return the ids of the prompt, and of each answer to it.

        Together they have at most `max_length` tokens: an answer is cut at its end; a prompt that leaves less
        than half of the room loses its beginning, so that something is left to learn.
        """
        prompt_ids = self._ids(prompt, add_generation_prompt=True)
        whole = [self._ids([*prompt, *answer], add_generation_prompt=False) for answer in answers]
        start = min(common_prefix(prompt_ids, ids) for ids in whole)
        if start < len(prompt_ids) and not self._warned:
            self._warned = True
            logger.warning(
                "the chat template renders the prompt alone differently from prompt with answer: the completion starts "
                "where they part, which leaves out %r",
                self.tokenizer.decode(prompt_ids[start:]),
            )
        answer_ids = [ids[start:] for ids in whole]
        longest = max(len(ids) for ids in answer_ids)
        room = max(self.max_length - longest, self.max_length // 2)
        kept_prompt = prompt_ids[:start][-room:]
        return kept_prompt, [ids[: self.max_length - len(kept_prompt)] for ids in answer_ids]

    def _ids(self, chat: Chat, *, add_generation_prompt: bool) -> list[int]:
        messages = [dict(message) for message in chat]
        return list(chat_tokens(self.tokenizer, messages, add_generation_prompt=add_generation_prompt)["input_ids"])
