"""The tables of the night: its runs and what they changed, proposals for a person, clusterings, archive files."""

from maintenance.models.archives import ArchiveFile
from maintenance.models.changes import RowChange
from maintenance.models.clusterings import Clustering
from maintenance.models.proposals import Proposal
from maintenance.models.runs import MaintenanceRun, MaintenanceStep

__all__ = ["ArchiveFile", "Clustering", "MaintenanceRun", "MaintenanceStep", "Proposal", "RowChange"]
