"""The cards of the dashboard that are words: what waits, the last night, the last runs, the switch, the first steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Prefetch, QuerySet
from django.urls import reverse

from dualchannel_site.desk.counting import count_up_to
from dualchannel_site.desk.dashboard.links import list_of, may_see, page_of
from dualchannel_site.desk.dashboard.pool_charts import CHANNELS
from dualchannel_site.desk.jobs.permissions import START
from dualchannel_site.desk.models import Job
from maintenance.models import MaintenanceRun, MaintenanceStep, Proposal
from memory.bulk import key_list
from memory.models import Conversation, ReviewStatus, SftPair
from memory.switches import is_on
from training.models import TrainingRun
from training.sampling.schedule import Channel

# What waits is counted up to here: "1,000+".
COUNT_LIMIT = 1_000
SHOWN_RUNS = 5
SHOWN_NIGHTS = 7
SWITCH = "INTROSPECTION_IN_SFT"
# The jobs that can be started from here: their button, and the page that asks for the rest.
_STARTS = {
    Job.Kind.EXTRACTION: ("Start extraction", "desk:start-extraction"),
    Job.Kind.PLAN: ("Start training", "desk:plan-training"),
    Job.Kind.NIGHT: ("Run the night now", "desk:start-night"),
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that waits for a person: how many, at least where `is_more`, and where it is decided."""

    name: str
    count: int
    link: str
    is_more: bool = False

    @property
    def shown(self) -> str:
        """The number in words of the page."""
        return f"{self.count:,}{'+' if self.is_more else ''}"


@dataclass(frozen=True, slots=True)
class LastNight:
    """The newest night with its steps, and the nights before it."""

    run: MaintenanceRun
    failed: Sequence[MaintenanceStep]
    headline: str
    before: Sequence[MaintenanceRun]


@dataclass(frozen=True, slots=True)
class Switch:
    """The introspection switch: whether it is on, and how many memory pairs come of introspection."""

    is_on: bool
    pairs: Waiting
    link: str


@dataclass(frozen=True, slots=True)
class Button:
    """A button that leads to the page where a job is started."""

    text: str
    link: str


@dataclass(frozen=True, slots=True)
class Step:
    """One of the first steps of a new installation: what to do, by which command or on which page."""

    title: str
    command: str
    is_done: bool
    button: Button | None = None


def waiting(user: User | AnonymousUser, channels: Collection[Channel]) -> list[Waiting]:
    """Return what waits for this person's decision: pairs of the channels, proposals, pairs that did not stick."""
    found = []
    for channel in channels:
        view = CHANNELS[channel]
        pending: QuerySet[Any] = view.model._default_manager.trainable()
        link = reverse("desk:review", args=[view.name])
        found.append(_counted(f"{view.name} pairs to review", pending.filter(review_status=ReviewStatus.PENDING), link))
    if may_see(user, "maintenance.proposal"):
        found.append(
            _counted("proposals of the night", Proposal.objects.open(), list_of(Proposal, status__exact="open"))
        )
    if channels and may_see(user, "training.trainingrun"):
        found += _unlearned(channels)
    return found


def last_night() -> LastNight | None:
    """Return the newest night, None before the first; two queries."""
    steps = MaintenanceStep.objects.only("run", "name", "status", "seconds", "error")
    nights = list(
        MaintenanceRun.objects.defer("config", "error")
        .prefetch_related(Prefetch("steps", queryset=steps))
        .order_by("-pk")[:SHOWN_NIGHTS]
    )
    if not nights:
        return None
    run = nights[0]
    taken = list(run.steps.all())
    failed = [step for step in taken if step.ended_badly]
    ends = Counter(step.status for step in taken)
    due = len(taken) - ends["skipped"]
    skipped = f", {ends['skipped']} skipped" if ends["skipped"] else ""
    minutes, seconds = divmod(round(sum(step.seconds or 0 for step in taken)), 60)
    lasted = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    return LastNight(run, failed, f"{ends['succeeded']} of {due} steps done{skipped} in {lasted}", nights[1:])


def last_runs() -> list[TrainingRun]:
    """Return the newest runs of the trainer, whatever became of them; one query."""
    columns = ("status", "started_at", "finished_at", "steps", "config_path", "error")
    return list(TrainingRun.objects.only(*columns).order_by("-pk")[:SHOWN_RUNS])


def introspection() -> Switch:
    """Return the state of the switch; two queries at most."""
    rows = SftPair.objects.filter(source=SftPair.Source.INTROSPECTION)
    link = list_of(SftPair, source__exact=SftPair.Source.INTROSPECTION)
    return Switch(is_on(SWITCH), _counted("pairs", rows, link), reverse("admin:constance_config_changelist"))


def open_jobs() -> list[Job]:
    """Return the jobs that wait or are at work; one query, since there is at most one of a kind."""
    columns = ("kind", "status", "heartbeat_at", "progress_text", "progress_share", "requested_at")
    return list(Job.objects.open().only(*columns))


def starts(user: User | AnonymousUser) -> dict[Job.Kind, Button]:
    """Return the buttons of the jobs that this person may start."""
    return {kind: Button(text, reverse(page)) for kind, (text, page) in _STARTS.items() if user.has_perms(START[kind])}


def first_steps(user: User | AnonymousUser, *, has_pairs: bool) -> list[Step]:
    """Return what a new installation has to do before it has learned anything; nothing once all of it was done."""
    buttons = starts(user)
    talks = Button("Conversations", list_of(Conversation)) if may_see(user, "memory.conversation") else None
    steps = [
        Step("Import conversations", "manage.py import_conversations PATH", Conversation.objects.exists(), talks),
        Step(
            "Extract pairs from them", "manage.py extract_sft_pairs --all", has_pairs, buttons.get(Job.Kind.EXTRACTION)
        ),
        Step(
            "Train an adapter",
            "manage.py train_dual --config config/training/lora_demo.yaml",
            TrainingRun.objects.successful().exists(),
            buttons.get(Job.Kind.PLAN),
        ),
    ]
    return [] if all(step.is_done for step in steps) else steps


def _counted(name: str, rows: QuerySet[Any], link: str) -> Waiting:
    count, is_more = count_up_to(rows, COUNT_LIMIT)
    return Waiting(name, count, link, is_more)


def _unlearned(channels: Collection[Channel]) -> list[Waiting]:
    """Return how many pairs that did not stick in the last successful run wait; one query, and one a channel."""
    keys = ("pk", *(f"evaluation__did_not_stick__{channel}" for channel in channels))
    last = TrainingRun.objects.successful().order_by("-pk").values_list(*keys).first()
    if last is None:
        return []
    run, *left = last
    count = sum(_pending(channel, pairs) for channel, pairs in zip(channels, left, strict=True))
    name = f"pairs to review that did not stick in run {run}"
    return [Waiting(name, count, f"{page_of(TrainingRun, run)}#did-not-stick")]


def _pending(channel: Channel, pairs: Any) -> int:
    """Return how many of the `pairs` that a run's evaluation lists wait for review."""
    keys = [key for key in pairs if isinstance(key, int)] if isinstance(pairs, list) else []
    if not keys:
        return 0
    rows: QuerySet[Any] = CHANNELS[channel].model._default_manager.trainable()
    # No equality on the status: without statistics SQLite would walk all pending pairs by its index.
    return rows.exclude(review_status=ReviewStatus.APPROVED).filter(pk__in=key_list(keys, using=rows.db)).count()
