"""The dual-channel trainer: torch, transformers, peft and trl; never Django."""
