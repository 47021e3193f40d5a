"""Command: the worker of the queue, which first looks after the jobs of one that died."""

from typing import Any

from django_tasks_db.management.commands import db_worker

from dualchannel_site.desk.jobs.recovery import close_lost, queue_lost


class Command(db_worker.Command):
    """Do the jobs that wait, one after the other."""

    help = "Do the jobs that wait, one after the other. Jobs that died with an earlier worker are closed first."

    def handle(self, **options: Any) -> None:
        """Put right what an earlier worker has left, and work."""
        close_lost()
        queue_lost()
        super().handle(**options)
