"""How samples become weights."""
