"""Records for tests, with the fields that a test does not name filled in."""

from datetime import UTC, datetime, timedelta

from training.datasets import PreferenceGroup, PreferenceRecord, SftRecord

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def sft_record(
    number: int,
    *,
    question: str = "",
    answer: str = "",
    weight: float = 1.0,
    reward: float = 1.0,
    source: str = "conversation",
    age_days: float = 0,
) -> SftRecord:
    return SftRecord(
        id=number,
        prompt=({"role": "user", "content": question or f"question {number}"},),
        completion=({"role": "assistant", "content": answer or f"answer {number}"},),
        weight=weight,
        reward=reward,
        source=source,
        conversation=f"test:sft-{number}",
        created_at=NOW - timedelta(days=age_days),
        content_hash=f"{number:064d}",
    )


def preference_record(
    number: int,
    *,
    chosen: str = "",
    rejected: str = "",
    weight: float = 1.0,
    reward: float = 1.0,
    source: str = "rating",
    group: PreferenceGroup = "drafts",
    age_days: float = 0,
) -> PreferenceRecord:
    return PreferenceRecord(
        id=number,
        prompt=({"role": "user", "content": f"question {number}"},),
        chosen=({"role": "assistant", "content": chosen or f"plain answer {number}"},),
        rejected=({"role": "assistant", "content": rejected or f"what a wonderful question number {number}"},),
        weight=weight,
        reward=reward,
        source=source,
        group=group,
        conversation=f"test:preference-{number}",
        created_at=NOW - timedelta(days=age_days),
        content_hash=f"{number:064d}",
    )
