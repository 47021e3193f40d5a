"""What a night's config may say: every key with its type, its range, its effect.

`docs/configuration.md` is generated from these classes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from training.config.sections import Section, Share

Days = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]


class ExtractConfig(Section):
    """The extraction, of conversations that changed since they were last extracted; after a change here, of all."""

    include_context: bool = Field(
        False,
        description="Keep the dialogue before each instruction with the pairs that are made from now on, which are "
        "then duplicates only where it is the same. Stored ones get it by `manage.py extract_sft_pairs --all "
        "--include-context --no-skip-existing`.",
    )


class MergeConfig(Section):
    """Duplicates across all pairs."""

    similarity_threshold: float = Field(
        0.92,
        ge=0.5,
        lt=1,
        description="Pairs whose cosine is above this are duplicates, unless they differ in a fact. Dates, negations "
        "and number words are facts in English alone (see docs/methods.md).",
    )
    max_proposals: Count = Field(
        200,
        description="At most so many new proposals a night, the most similar pairs first. Of the rest the 1,000 most "
        "similar of each channel wait for the next night; the others come back when all pairs are compared again.",
    )
    full_every_days: Days = Field(
        30, description="Days after which all pairs are compared with each other again, rather than new ones with all."
    )


class RetireConfig(Section):
    """What leaves the pools. Archived pairs stay in the database until they are exported."""

    retention_days: Days | None = Field(
        730, description="Archive pairs that were said longer ago, in days; null never does."
    )
    max_uses: Annotated[int, Field(ge=1)] | None = Field(
        20, description="Archive pairs that so many successful runs have used; null never does."
    )
    rejected_days: Days | None = Field(90, description="Archive pairs that were rejected so long ago, in days.")
    keep_approved: bool = Field(True, description="Never archive what a person approved, however old or used it is.")
    export_after_days: Days | None = Field(
        180,
        description="Move pairs that have been archived so long, in days, out of the database into files under "
        "ARTIFACTS_DIR/archive, from which `restore_archive` brings them back; null never does.",
    )


class ReemitConfig(Section):
    """Older pairs of high value that are offered to training again."""

    budget: Count = Field(100, description="At most so many pairs of each channel a night; 0 re-emits none.")
    min_reward: Share = Field(
        0.7, description="Least reward, 0 to 1: a memory pair's reward intensity, a preference pair's margin."
    )
    min_days_since_use: Days = Field(14, description="Days that a pair rests after it was used.")


class ReclusterConfig(Section):
    """Topics over all embeddings."""

    k: Annotated[int, Field(ge=2, le=1000)] | Literal["auto"] = Field(
        "auto", description="Clusters; auto takes the root of the number of pairs, 20 to 100."
    )
    min_new_share: Share = Field(
        0.05, description="Cluster anew once so large a share of the pairs has no cluster yet; 0 does every night."
    )
    keep_labels: Annotated[int, Field(ge=1)] = Field(
        7, description="So many clusterings keep every pair's label, so that they can be undone."
    )


class ReplayConfig(Section):
    """The replay buffer."""

    size: Annotated[int, Field(ge=1)] = Field(
        50_000, description="Entries to keep; those of the lowest priority go first (see docs/methods.md)."
    )


class TrainConfig(Section):
    """Training as a part of the night."""

    enabled: bool = Field(False, description="Whether the night trains.")
    config: str = Field("config/training/lora_dual.yaml", description="Training config, from the project's folder.")
    min_unused_sft_pairs: Count = Field(50, description="Train only with at least so many unused memory pairs.")
    min_unused_preference_pairs: Count = Field(
        20, description="Train only with at least so many unused preference pairs."
    )


class EvaluateConfig(Section):
    """The new adapter next to the one that was active before; a check that cannot be made counts as failed.

    Where none was active, as the first time, the new one is compared with the base model, and `max_recall_loss` and
    `max_sft_loss_rise` count as 0: it must not remember less than that.
    """

    max_drift: float = Field(
        0.05, ge=0, description="Most rise of the median token loss on general text, as a ratio to before the run."
    )
    max_recall_loss: Share = Field(
        0.05, description="Most loss of recall against the adapter that was active before, 0 to 1."
    )
    max_sft_loss_rise: float = Field(
        0.05,
        ge=0,
        description="Most rise of the token loss on held-out memory pairs against it, as a ratio; judged in place of "
        "recall where the training config names no probes.",
    )
    max_preference_loss: Share = Field(0.05, description="Most loss of preference accuracy against it, 0 to 1.")
    keep_worse: bool = Field(
        False, description="Leave an adapter active that fails the comparison; otherwise the earlier one is put back."
    )


class HousekeepingConfig(Section):
    """Disk and database."""

    keep_runs: Annotated[int, Field(ge=1)] = Field(
        10, description="Newest run folders of each output_dir to keep, besides the active adapter and its ancestors."
    )
    keep_backups: Count = Field(7, description="Newest backups of the database to keep; 0 makes none.")
    keep_reports_days: Days = Field(365, description="Days that morning reports are kept.")
    keep_changes_days: Days = Field(90, description="Days in which a night can be undone; then its journal goes.")
    vacuum_seconds: float = Field(60.0, ge=0, description="Most seconds for giving free pages back; 0 does not.")


class ReportConfig(Section):
    """The morning report."""

    examples: Count = Field(5, description="Examples of each kind in the report.")
    email_to: tuple[str, ...] = Field(
        (), description="Addresses that get it, by Django's mail settings; empty: nobody."
    )


class NightlyConfig(Section):
    """One night, from extraction to the morning report."""

    extract: ExtractConfig = ExtractConfig()
    merge: MergeConfig = MergeConfig()
    retire: RetireConfig = RetireConfig()
    reemit: ReemitConfig = ReemitConfig()
    recluster: ReclusterConfig = ReclusterConfig()
    replay: ReplayConfig = ReplayConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    housekeeping: HousekeepingConfig = HousekeepingConfig()
    report: ReportConfig = ReportConfig()
