"""The morning report: what a night did, for the person who reads it over coffee."""

from maintenance.morning.writing import write_report

__all__ = ["write_report"]
