"""Records for tests, with the fields that a test does not name filled in."""

from datetime import UTC, datetime, timedelta

from training.datasets import PreferenceRecord, SftRecord

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def sft_record(
    number: int, *, question: str = "", answer: str = "", weight: float = 1.0, age_days: float = 0
) -> SftRecord:
    return SftRecord(
        id=number,
        prompt=({"role": "user", "content": question or f"question {number}"},),
        completion=({"role": "assistant", "content": answer or f"answer {number}"},),
        weight=weight,
        created_at=NOW - timedelta(days=age_days),
        content_hash=f"{number:064d}",
    )


def preference_record(number: int, *, chosen: str = "", rejected: str = "", age_days: float = 0) -> PreferenceRecord:
    return PreferenceRecord(
        id=number,
        prompt=({"role": "user", "content": f"question {number}"},),
        chosen=({"role": "assistant", "content": chosen or f"plain answer {number}"},),
        rejected=({"role": "assistant", "content": rejected or f"what a wonderful question number {number}"},),
        weight=1.0,
        created_at=NOW - timedelta(days=age_days),
        content_hash=f"{number:064d}",
    )
