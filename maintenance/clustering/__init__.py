"""Topics over all embeddings: how a million are divided, named, compared with the last division, stored, put back."""

from maintenance.clustering.restoring import restore_previous

__all__ = ["restore_previous"]
