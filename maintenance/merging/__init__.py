"""Duplicates across all pairs: which pair stands for which, and what only a person can decide."""
