"""Readers of chat exports: one module a format, each a generator of parsed records; no database."""
