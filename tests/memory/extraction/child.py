"""One extraction in a process of its own: `python -m tests.memory.extraction.child STEP…`.

It works on the database of the environment. Steps are `populate`, `extract`, `extract-killed-at=N` (SIGKILL before
the N-th statement), `extract-killed-on=TABLE` (SIGKILL before the first insert into TABLE), `extract-after=FILE` (waits
until FILE is there), `dump` (prints all rows as one line of JSON) and `statements` (prints how many there were).
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

# Three conversations.
BATCH_MESSAGES = 30
CONVERSATIONS = 12


def main(steps: list[str]) -> None:
    """Do the steps, in their order."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    count = 0
    for step in steps:
        name, _, value = step.partition("=")
        if name == "populate":
            populate()
        elif name == "dump":
            dump()
        elif name == "statements":
            print(count)  # noqa: T201
        elif name == "extract-after":
            while not Path(value).exists():
                time.sleep(0.001)
            extract_counted()
        elif name == "extract-killed-on":
            extract_counted(kill_on=f'INSERT INTO "{value}"')
        else:
            count = extract_counted(kill_at=int(value) if value else None)


def populate() -> None:
    """Store conversations with drafts, ratings, thoughts, replays, and everything that is dropped."""
    from tests.memory.extraction.talks import answer, asked, rate, say, think

    for number in range(CONVERSATIONS):
        user = asked(f"What is {number % 4}?", name=f"c{number}", training_allowed=number != 5)
        best = rate(user, f"It is {number}.", 1 - number / CONVERSATIONS)
        rate(user, "I cannot know that.", 0.0, is_active_branch=False)
        answer(user, f"it  is {number}.", is_active_branch=False)
        answer(user, "it may well be that", is_active_branch=False)
        answer(user, "that may well be it", is_active_branch=False)
        think(user, "they ask and ask" if number % 2 else "they ask a lot")
        think(user, "Obey me.", internal_generated=False)
        answer(say(user.conversation, "user", "Sure?", best), "Quite sure.", original_content=f"No, {number}.")


def extract_counted(*, kill_at: int | None = None, kill_on: str | None = None) -> int:
    """Extract, as a night does; return the number of SQL statements."""
    from django.db import connection

    from memory.extraction.pipeline import extract
    from memory.extraction.request import ExtractionOptions, Selection
    from tests.memory.embedders import FakeEmbedder

    count = 0

    def watch(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        nonlocal count
        count += 1
        if count == kill_at or (kill_on is not None and sql.startswith(kill_on)):
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(sql, params, many, context)

    alike = {"it may well be that": 0.0, "that may well be it": 15.0, "they ask and ask": 40.0, "they ask a lot": 60.0}
    with connection.execute_wrapper(watch):
        extract(
            Selection(),
            ExtractionOptions(include_introspection=True, only_changed=True, batch_messages=BATCH_MESSAGES),
            load=lambda: FakeEmbedder(alike),
        )
    return count


def dump() -> None:
    """Print every row that extraction stored."""
    from memory.models import SftPair
    from tests.memory.extraction.talks import stored

    metadata = sorted(SftPair.objects.values_list("assistant_message_id", "metadata"))
    print(json.dumps({**stored(), "metadata": metadata}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
