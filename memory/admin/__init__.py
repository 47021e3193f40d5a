"""The desk: where a person sees, filters and decides."""

from memory.admin import bulk_records, conversations, embeddings, imports, pairs, people, replay

__all__ = ["bulk_records", "conversations", "embeddings", "imports", "pairs", "people", "replay"]
