"""A small memory in which every step of a night finds something to do."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from django.contrib.sessions.models import Session

from maintenance.config import NightlyConfig
from maintenance.models import MaintenanceRun, RowChange
from memory import curation
from memory.bulk import insert_rows
from memory.embeddings import pair_text, to_bytes
from memory.models import Conversation, PairEmbedding, PreferencePair, ReplayEntry, SftPair
from tests.maintenance import training_runs
from tests.memory import rows
from tests.memory.embedders import FakeEmbedder
from tests.memory.extraction.talks import answer, asked, rate, think
from tests.training import runs
from training.models import PairUse, TrainingRun

NOW = datetime(2026, 6, 1, 3, tzinfo=UTC)
CONFIG = NightlyConfig.model_validate(
    {
        "merge": {"max_proposals": 4},
        "retire": {"max_uses": 2, "export_after_days": 180},
        "reemit": {"budget": 5, "min_days_since_use": 1},
        "recluster": {"k": 3, "min_new_share": 0.01},
        "replay": {"size": 12},
        "housekeeping": {"keep_runs": 1, "keep_backups": 2, "keep_reports_days": 30, "keep_changes_days": 30},
    }
)

TRAINED = "lora/trained"
TRAINING = NightlyConfig.model_validate(
    {
        **CONFIG.model_dump(),
        "train": {
            "enabled": True,
            "config": "train.yaml",
            "min_unused_sft_pairs": 4,
            "min_unused_preference_pairs": 4,
        },
        "evaluate": {"keep_worse": True},
    }
)

# Alike, and the same in every name and number: each word is a group of its own.
WORDS = ("walks", "swims", "sleeps", "barks", "digs", "hides")
_TURNS = ("{}", "often {}", "always {}")
_DOGS = ("Pixel", "Biscuit", "Rex")
_SEAS = ("the sea is salt", "the sea is very salt", "the sea is so salt")


def embedder() -> FakeEmbedder:
    """Return the embedder under which the texts of a group are a few degrees apart, and groups far from each other."""
    angles = {
        pair_text(_question(word), _answer(turn.format(word))): 45.0 * place + 8.0 * number
        for place, word in enumerate(WORDS)
        for number, turn in enumerate(_TURNS)
    }
    angles |= {pair_text(*_dog(name)): 290.0 + 5.0 * number for number, name in enumerate(_DOGS)}
    angles |= {pair_text("how is the sea", chosen): 5.0 * number for number, chosen in enumerate(_SEAS)}
    return FakeEmbedder(angles)


def populate(artifacts: Path) -> None:
    """Fill the database and the artifacts folder."""
    used = _training(artifacts)
    _talks()
    _alike(used)
    _different_in_facts()
    _worn(used)
    _exportable()
    _preferences(used)
    _replay()
    _rubbish(artifacts)
    _vectors()


def write_training_config(artifacts: Path, model: str) -> None:
    """Write the config of a short training with two checkpoints."""
    content = runs.config(model, output_dir=TRAINED, save_steps=4).model_dump(mode="json")
    (artifacts / "train.yaml").write_text(yaml.safe_dump(content))


def _vectors() -> None:
    """Store the vectors of some pairs, for others those of an older embedder, and none for the rest."""
    memory = [(pair.pk, pair.instruction, pair.response) for pair in SftPair.objects.order_by("pk")]
    preference = [(pair.pk, pair.prompt[-1]["content"], pair.chosen) for pair in PreferencePair.objects.order_by("pk")]
    model = embedder()
    for link, pairs in (("sft_pair_id", memory), ("preference_pair_id", preference)):
        for number, (pk, asked_for, said) in enumerate(pairs):
            if number % 5:
                version = model.version if number % 5 < 4 else "old/16"
                vector = to_bytes(model.encode([pair_text(asked_for, said)])[0])
                PairEmbedding.objects.create(embedder=version, dimension=model.dimension, vector=vector, **{link: pk})


def _question(word: str) -> str:
    return f"what does it do when it {word}"


def _dog(name: str) -> tuple[str, str]:
    return "what is my dog called", f"your dog is called {name}"


def _answer(turn: str) -> str:
    return f"it {turn} in the garden"


_stored = 0


def _pair(**fields: Any) -> SftPair:
    """Store a memory pair, each said in a minute of its own, which tells it from all others."""
    global _stored
    _stored += 1
    return rows.sft_pair(**{"created_at": NOW - timedelta(days=30, minutes=_stored), **fields})


def _training(artifacts: Path) -> list[TrainingRun]:
    root = artifacts / "lora" / "dual"
    return [training_runs.run(root, night=night, active=night == 2) for night in range(3)]


def _use(pair: SftPair | PreferencePair, runs: list[TrainingRun]) -> None:
    link = "sft_pair" if isinstance(pair, SftPair) else "preference_pair"
    for run in runs:
        PairUse.objects.create(
            run=run, step=pair.pk, epoch=0, weight=1.0, content_hash=pair.content_hash, **{link: pair}
        )
    type(pair)._default_manager.filter(pk=pair.pk).update(
        is_used=True, training_epoch=0, used_timestamp=NOW - timedelta(days=20)
    )


def _talks() -> None:
    """Store conversations that nothing was extracted from."""
    for number in range(6):
        begin = NOW - timedelta(days=2, hours=number)
        user = asked(f"how is the weather on day {number}", f"talk-{number}", started_at=begin)
        answer(user, f"it rains on day {number}", created_at=begin + timedelta(minutes=1))
        rate(user, f"as wet as can be on day {number}", 0.9, created_at=begin + timedelta(minutes=2))
        rate(user, f"what a wonderful question about day {number}", 0.1, created_at=begin + timedelta(minutes=3))
        think(user, f"they ask about day {number}", created_at=begin + timedelta(minutes=4))


def _alike(used: list[TrainingRun]) -> None:
    for place, word in enumerate(WORDS):
        for number, turn in enumerate(_TURNS):
            for copy in range(1 + (place + number) % 3):
                pair = _pair(
                    instruction=_question(word),
                    response=_answer(turn.format(word)),
                    reward_intensity=(3 * place + 2 * number + copy) % 10 / 10 + 0.05,
                    loss=1.5 if copy else None,
                    metadata={"copy": copy},
                )
                if (place + copy) % 4 == 0:
                    _use(pair, used[:1])


def _different_in_facts() -> None:
    for name in _DOGS:
        instruction, response = _dog(name)
        _pair(instruction=instruction, response=response)


def _worn(used: list[TrainingRun]) -> None:
    """Store pairs that are old, often used, or rejected for long, and used ones of high reward."""
    for number in range(8):
        _pair(
            instruction=f"old question {number}",
            response=f"old answer {number}",
            created_at=NOW - timedelta(days=1000, minutes=number),
        )
        _use(_pair(instruction=f"worn question {number}", response=f"worn answer {number}"), used[:2])
        _use(
            _pair(instruction=f"dear question {number}", response=f"dear answer {number}", reward_intensity=0.9),
            used[2:],
        )
    rejected = [_pair(instruction=f"bad question {number}", response="bad answer").pk for number in range(5)]
    curation.reject(pairs=SftPair.objects.filter(pk__in=rejected), user=None)
    SftPair.history.update(history_date=NOW - timedelta(days=200))


def _exportable() -> None:
    """Store pairs that have been archived for long, some of them merged into others of their kind."""
    archived = {"archived_at": NOW - timedelta(days=300)}
    for number in range(6):
        survivor = _pair(instruction=f"kept question {number}", response="kept answer", **archived)
        for member in range(number % 3):
            _pair(
                instruction=f"kept question {number} again {member}",
                response="kept answer",
                merged_into=survivor,
                **archived,
            )
    # Its history goes with it.
    bad = _pair(instruction="long rejected question", response="bad answer", **archived)
    curation.reject(pairs=SftPair.objects.filter(pk=bad.pk), user=None)
    # Its survivor stays, and so it must, too.
    _pair(
        instruction="left question",
        response="left answer",
        merged_into=_pair(instruction="staying", **_ANSWER),
        **archived,
    )


_ANSWER = {"response": "it stays here"}


def _preferences(used: list[TrainingRun]) -> None:
    for number, chosen in enumerate(_SEAS):
        rows.preference_pair(
            prompt=[{"role": "user", "content": "how is the sea"}],
            chosen=chosen,
            rejected="oh, what a sea",
            margin=0.3 * number,
            created_at=NOW - timedelta(days=40, hours=number + 1),
        )
    for number in range(9):
        pair = rows.preference_pair(
            prompt=[{"role": "user", "content": f"tell me of the sea, part {number}"}],
            chosen=f"the sea is salt, part {number}",
            rejected=f"oh, what a sea, part {number}",
            margin=0.8,
            created_at=NOW - timedelta(days=1000 if number < 2 else 40, minutes=number),
            archived_at=NOW - timedelta(days=300) if number == 2 else None,
        )
        if number % 2:
            _use(pair, used[:2] if number == 3 else used[:1])


def _replay() -> None:
    for number in range(20):
        rows.replay_entry(
            prompt=f"entry {number}",
            prompt_hash=f"{number:064}",
            reward_intensity=number / 20,
            created_at=NOW - timedelta(days=number),
            evicted_at=NOW - timedelta(days=1) if number == 19 else None,
        )


def _rubbish(artifacts: Path) -> None:
    """Leave what housekeeping removes."""
    long_ago = NOW - timedelta(days=100)
    run = MaintenanceRun.objects.create(
        config_path="nightly.yaml", config={}, status="succeeded", started_at=long_ago, finished_at=long_ago
    )
    columns = ("run_id", "step", "table", "row_id", "before", "after", "history_id", "changed_at")
    changes = [
        (run.pk, "merge", "memory.sftpair", number, {"category": ""}, {"category": "x"}, 0, long_ago)
        for number in range(20)
    ]
    insert_rows(RowChange, columns, changes)
    for number in range(5):
        Session.objects.create(session_key=f"ended-{number}", session_data="", expire_date=long_ago)
    for day in ("2026-01-01", "2026-02-01"):
        report = artifacts / "maintenance" / day
        report.mkdir(parents=True)
        (report / "report.md").write_text("long ago")
    (artifacts / "lora" / "dual" / "notes.json").write_text(json.dumps({"by": "a person"}))
    assert Conversation.objects.exists()
    assert ReplayEntry.objects.exists()
