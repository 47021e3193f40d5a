"""Topics over all embeddings: how a million are divided, named, compared with the last division, stored, put back."""
