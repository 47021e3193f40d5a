"""Barriers of the admin theme's own that no style or template of ours removes, each with its reason."""

ALLOWED: dict[str, str] = {}
