"""The process of a job: `python -m dualchannel_site.desk.jobs.process JOB WORKER`, started by the worker alone."""

from __future__ import annotations

import os
import signal
import sys

import django

# The exit code of a process whose job has ended, and whose database did not take how.
UNRECORDED = os.EX_TEMPFAIL


def main(job_id: int, worker: int) -> None:
    """Do the job; the number of the worker's process tells when that is gone."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dualchannel_site.settings")
    # A worker that a shell started in the background may have handed down that SIGINT is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    django.setup()
    # Models can be imported only now.
    from dualchannel_site.desk.jobs.work import UnrecordedError, work

    try:
        work(job_id, worker=worker)
    except UnrecordedError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the worker's log
        sys.exit(UNRECORDED)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
