"""The web server's side of jobs, for tests whose worker is a process of its own.

`python -m tests.dualchannel_site.desk.jobs.other_process` works on the database of the environment. It reads orders,
one JSON list a line (a name and its arguments), and answers each with a line of JSON.
"""

import json
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django


def populate(talks: int, pairs: int) -> None:
    """Store conversations with a question and its answer each, and pairs of both channels."""
    from tests.memory import rows
    from tests.training.rows import preference_pairs, sft_pairs

    for number in range(talks):
        conversation = rows.conversation(f"talk {number}")
        question = rows.message(conversation, "m1", role="user", content=f"What is dog {number} called?")
        rows.message(conversation, "m2", parent=question, content=f"Dog {number} is called Pixel.")
    if pairs:
        sft_pairs(pairs)
        preference_pairs(pairs)


def start(kind: str, options: dict[str, Any]) -> int:
    from dualchannel_site.desk.jobs.starting import start_job
    from dualchannel_site.desk.models import Job

    return start_job(kind=Job.Kind(kind), options=options, user=_person()).pk


def cancel(key: int) -> bool:
    from dualchannel_site.desk.jobs.starting import cancel_job
    from dualchannel_site.desk.models import Job

    return cancel_job(Job.objects.get(pk=key), user=_person())


def look(key: int) -> dict[str, Any]:
    from dualchannel_site.desk.models import Job

    return dict(
        Job.objects.values(
            "status", "pid", "progress_text", "progress_share", "error", "messages", "result", "training_run_id"
        ).get(pk=key)
    )


def age(key: int, seconds: float) -> None:
    """Let the job's last sign of life be older."""
    from django.db.models import F

    from dualchannel_site.desk.models import Job

    Job.objects.filter(pk=key).update(heartbeat_at=F("heartbeat_at") - timedelta(seconds=seconds))


def count(model: str) -> int:
    from django.apps import apps

    return int(apps.get_model(model)._default_manager.count())


def _person() -> Any:
    from django.contrib.auth.models import User

    return User.objects.get_or_create(username="olga")[0]


ORDERS: dict[str, Callable[..., Any]] = {
    "populate": populate,
    "start": start,
    "cancel": cancel,
    "look": look,
    "age": age,
    "count": count,
}


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(ORDERS[name](*arguments)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
