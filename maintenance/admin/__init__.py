"""The night at the desk: what it did, what it proposes, what it knows of topics and archives."""

from maintenance.admin import archives, clusterings, proposals, runs

__all__ = ["archives", "clusterings", "proposals", "runs"]
