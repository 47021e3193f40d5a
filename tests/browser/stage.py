"""Fill a site's database with what a person finds in the morning: `python -m tests.browser.stage FOLDER`.

The shipped demo's conversations, pairs of both channels, a training of a tiny model, a night, and one row of whatever
else there are pages for. The last line that it prints is a JSON object of the site's addresses by name.
"""

import json
import sys
from datetime import timedelta
from pathlib import Path

import django
import yaml
from django.core.management import call_command

CONVERSATIONS = Path(__file__).resolve().parents[2] / "memory/demo/conversations.jsonl"
# As many points have the charts of what changed over time.
NIGHTS = 3
# Enough steps for a curve, few enough for a few seconds.
TRAINING_STEPS = 30


def main(folder: Path) -> None:
    """Fill the database that the environment names; write configs and artifacts into `folder`."""
    django.setup()
    _people()
    call_command("import_conversations", CONVERSATIONS)
    call_command("extract_sft_pairs", "--all")
    _write_config(folder)
    for days_ago in reversed(range(NIGHTS)):
        call_command("train_dual", "--config", str(folder / "configs" / "tiny.yaml"))
        call_command("nightly_maintenance", "--skip", "train", "evaluate")
        _date_back(days_ago)
    # Only now are there models to import.
    from tests.dualchannel_site.desk.addresses import all_addresses

    _leftovers()
    print(json.dumps({address.name: address.path for address in all_addresses()}))  # noqa: T201


def _people() -> None:
    from django.contrib.auth.models import Group, User

    from tests.browser.site import PASSWORD

    User.objects.create_superuser("anna", password=PASSWORD)
    for role in ("viewer", "curator", "operator"):
        person = User.objects.create_user(role, password=PASSWORD, is_staff=True)
        person.groups.add(Group.objects.get(name=role))


def _date_back(days: int) -> None:
    """Let the newest training and the newest night have been `days` days ago."""
    from maintenance.models import MaintenanceRun
    from training.models import TrainingRun

    for row in (TrainingRun.objects.latest("pk"), MaintenanceRun.objects.latest("pk")):
        assert row.finished_at is not None
        row.started_at -= timedelta(days=days)
        row.finished_at -= timedelta(days=days)
        row.save(update_fields=["started_at", "finished_at"])


def _leftovers() -> None:
    """Store a row of what neither a training nor a night has made."""
    from axes.models import AccessAttempt
    from django.contrib.auth.models import User

    from dualchannel_site.desk.models import Job
    from maintenance.models import ArchiveFile, MaintenanceRun
    from memory.models import BulkDecision, SavedFilter, SftPair

    anna = User.objects.get(username="anna")
    ArchiveFile.objects.create(run=MaintenanceRun.objects.latest("pk"), path="pairs.jsonl.gz", sha256="0" * 64)
    AccessAttempt.objects.create(username="carl", ip_address="192.0.2.1", user_agent="-", failures_since_start=5)
    SavedFilter.objects.create(owner=anna, model="memory.sftpair", name="used pairs", query="is_used__exact=1")
    oldest, newest = SftPair.objects.earliest("pk").pk, SftPair.objects.latest("pk").pk
    # Of two the newer one goes on as soon as its author visits all pages, the older one in a test of its own.
    for lowest, highest in ((oldest, oldest + 9), (newest, newest)):
        BulkDecision.objects.create(channel="sft", action="approve", decided_by=anna, lowest_id=lowest, next_id=highest)
    Job.objects.create(kind="extraction", status="succeeded", requested_by=anna, options={"since": None})


def _write_config(folder: Path) -> None:
    from tests.training.tiny_model import make_tiny_model

    configs = folder / "configs"
    configs.mkdir()
    make_tiny_model(folder / "model")
    config = {
        "model_name_or_path": str(folder / "model"),
        "output_dir": "lora/tiny",
        "sft_batch_size": 4,
        "preference_batch_size": 2,
        "min_sft_pairs": 4,
        "min_preference_pairs": 4,
        "max_steps": TRAINING_STEPS,
        "max_length": 128,
        "mixed_precision": "no",
        "sft_filters": {"unused_only": False},
        "preference_filters": {"unused_only": False},
    }
    (configs / "tiny.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
