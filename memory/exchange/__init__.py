"""Pairs into files that people open elsewhere, and back: CSV for spreadsheets, JSONL in the form that TRL reads."""
