"""Where pairs go that are no longer trained: first out of the pools, then out of the database, and back."""

from maintenance.archive.restoring import RestoreReport, restore_file

__all__ = ["RestoreReport", "restore_file"]
