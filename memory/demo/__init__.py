"""The shipped example."""
