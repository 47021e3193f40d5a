"""How well a model remembers, behaves, stays itself."""
