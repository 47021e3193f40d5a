"""Rows of the desk itself."""

from dualchannel_site.desk.models.jobs import Job, JobQuerySet

__all__ = ["Job", "JobQuerySet"]
