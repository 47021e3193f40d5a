"""Rows for tests: each valid as it is, with what a test is about given by name."""

from typing import Any

from memory.models import (
    Conversation,
    ExportedPair,
    ImportBatch,
    Message,
    PairEmbedding,
    PreferencePair,
    ReplayEntry,
    SftPair,
)
from memory.text import content_hash


def conversation(external_id: str = "c1", **fields: Any) -> Conversation:
    return Conversation.objects.create(**{"source_system": "native", "external_id": external_id, **fields})


def message(in_conversation: Conversation, external_id: str = "m1", **fields: Any) -> Message:
    values = {"role": "assistant", "content": "The dog is called Pixel.", **fields}
    return Message.objects.create(conversation=in_conversation, external_id=external_id, **values)


def unsaved_sft_pair(**fields: Any) -> SftPair:
    return SftPair(**{"instruction": "What is my dog called?", "response": "Pixel.", **fields})


def sft_pair(**fields: Any) -> SftPair:
    pair = unsaved_sft_pair(**fields)
    pair.prepare()
    pair.save_base(raw=True)
    return pair


def unsaved_preference_pair(**fields: Any) -> PreferencePair:
    values = {
        "prompt": [{"role": "user", "content": "Say hello."}],
        "chosen": "Hello.",
        "rejected": "Oh, what a lovely day to say hello!",
        "source": "rating",
        **fields,
    }
    return PreferencePair(**values)


def preference_pair(**fields: Any) -> PreferencePair:
    pair = unsaved_preference_pair(**fields)
    pair.prepare()
    pair.save_base(raw=True)
    return pair


def replay_entry(**fields: Any) -> ReplayEntry:
    values = {"kind": "experience", "prompt": "Hello?", "response": "Hello.", "prompt_hash": content_hash("Hello?")}
    return ReplayEntry.objects.create(**{**values, **fields})


def embedding(pair: SftPair, **fields: Any) -> PairEmbedding:
    values = {"embedder": "tiny", "dimension": 2, "vector": bytes(4), **fields}
    return PairEmbedding.objects.create(sft_pair=pair, **values)


def import_batch(**fields: Any) -> ImportBatch:
    return ImportBatch.objects.create(**{"path": "export.json", "format": "chatgpt", **fields})


def exported_pair(**fields: Any) -> ExportedPair:
    values = {"channel": "sft", "pair_id": 1, "content_hash": "0" * 64, "file": "pairs-1.jsonl.gz", **fields}
    return ExportedPair.objects.create(**values)
