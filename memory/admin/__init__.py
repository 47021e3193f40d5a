"""The desk: where a person sees, filters and decides."""

from memory.admin import conversations, embeddings, imports, pairs, people, replay

__all__ = ["conversations", "embeddings", "imports", "pairs", "people", "replay"]
