"""The sections of a training config, each a group of keys with their types, ranges and effects.

`docs/configuration.md` is generated from these classes.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
# A time without a zone means the same on every machine.
Moment = Annotated[datetime, AfterValidator(lambda moment: moment if moment.tzinfo else moment.replace(tzinfo=UTC))]


class Section(BaseModel):
    """A group of keys: frozen once read, and no place for a key that nobody reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_is_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        # Pydantic takes true for 1, which no one means who writes it behind a batch size.
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise PydanticCustomError("truth_value", "allowed no true or false here")
        return value


def section_of(annotation: Any) -> type[Section] | None:
    """Return the section that a key's type is, alone or beside null; None where the key holds a plain value."""
    candidates = [annotation, *get_args(annotation)]
    return next((each for each in candidates if isinstance(each, type) and issubclass(each, Section)), None)


class RecencyDecay(Section):
    """How fast a sample's weight falls with its age: max(exp(-age/fast), exp(-age/slow))."""

    fast: Positive = Field(1800.0, description="Decay time of the fast curve, in seconds.")
    slow: Positive = Field(7200.0, description="Decay time of the slow curve, in seconds.")


class RecencyDecays(Section):
    """The decay of each channel."""

    sft: RecencyDecay = RecencyDecay()
    preference: RecencyDecay = RecencyDecay()


class ChannelFilters(Section):
    """Which pairs of a channel may be trained.

    Rejected, merged and archived pairs never are, nor those of conversations without consent, of a sampling weight of
    0, or of a reward of 0 in the memory channel.
    Of pairs from a file only `limit` counts: they have been chosen already.
    """

    unused_only: bool = Field(True, description="Leave out pairs that a run has consumed before.")
    review_status: tuple[Literal["pending", "approved"], ...] | None = Field(
        None, description="Take only pairs of these review statuses: pending, approved; null takes both."
    )
    source: tuple[str, ...] | None = Field(
        None,
        description="Take only these sources: conversation, introspection, import, manual of memory pairs; rating, "
        "regeneration, edit, replay, import of preference pairs. Null takes all.",
    )
    participant: tuple[str, ...] | None = Field(
        None, description="Take only pairs from conversations with these participant labels; null takes all."
    )
    since: Moment | None = Field(
        None, description="Take only pairs said at or after this time (ISO 8601; UTC where it names no zone)."
    )
    min_confidence: Share = Field(0.0, description="Least confidence, 0 to 1.")
    min_reward: Share = Field(
        0.0,
        description="Least reward, 0 to 1: the reward intensity of a memory pair, the margin of a preference pair, "
        "which is 0 for those of edits and regenerated drafts.",
    )
    limit: int | None = Field(None, ge=1, description="At most so many pairs, the newest; null takes all.")


class PreferenceShares(Section):
    """How the preference pairs that are drawn divide over where they come from; relative to one another.

    A share of 0 leaves those pairs out. Without this section they are drawn as they come.
    """

    curated: float = Field(1.0, ge=0, description="Pairs that a person edited, approved or imported.")
    drafts: float = Field(1.0, ge=0, description="Pairs of drafts: ratings and regenerations.")
    replay: float = Field(1.0, ge=0, description="Pairs of the replay buffer.")

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.curated == self.drafts == self.replay == 0:
            raise ValueError("got 0 for curated, drafts and replay, allowed at least one above 0")
        return self


class LoraSettings(Section):
    """PEFT's LoraConfig, in its own words. Hu et al. 2021, arXiv 2106.09685.

    An adapter that `init_adapter` takes up keeps its layers, and its dropout unless `lora_dropout` is 0; `r` and
    `lora_alpha` must be those that it has, or the run is refused.
    """

    r: int = Field(16, ge=1, description="Rank. Higher holds more and costs more memory.")
    lora_alpha: int = Field(32, ge=1, description="Scale of the update is lora_alpha / r; twice the rank is common.")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on the adapter's input; 0 keeps DPO exact.")
    target_modules: str | tuple[str, ...] = Field(
        "all-linear", description="Which layers get an adapter: all-linear, or a list of module names."
    )


class RetentionConfig(Section):
    """A pull towards the reference model on general text, against forgetting.

    Adds `weight` times the mean token-wise KL(reference || trained) on a batch of the retention texts to every
    `every_steps`-th step. Li & Hoiem 2016, arXiv 1606.09282 (learning without forgetting).
    """

    path: str | None = Field(
        None,
        description="JSON file with a list `retention` of chats, as `drift` of `evaluation.general_text_path`; the "
        "path starts at the project. Null takes none.",
    )
    weight: float = Field(1.0, ge=0, description="Factor on the KL term, in nats per token.")
    every_steps: int = Field(2, ge=1, description="1 adds it to every step; larger costs less and holds less.")
    batch_size: int = Field(2, ge=1, description="Texts in a retention batch.")
    approved_pairs: int = Field(
        0,
        ge=0,
        description="At most so many approved memory pairs of earlier runs, the newest, join the retention texts.",
    )


class EarlyStopping(Section):
    """Stops a channel when it has learned what it can, rather than after a fixed number of epochs.

    The memory channel is measured by recall where there are probes, else by its held-out loss; the preference channel
    by its held-out margin. Both count from the measurement before training; a recall that is still 0 stops nothing. A
    memory channel that stands still takes no further step; once the preference channel stands still as well, the run
    ends. Prechelt 1998, doi 10.1007/3-540-49430-8_3.
    """

    every_steps: int | None = Field(None, ge=1, description="Measure after so many steps; null never stops early.")
    patience: int = Field(3, ge=1, description="Measurements without improvement after which a channel stops.")
    min_improvement: float = Field(
        0.01, ge=0, description="Least relative gain over the best so far that counts as improvement."
    )


class EvaluationConfig(Section):
    """What is measured before and after training."""

    validation_share: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of conversations kept out of training. Which ones depends on a hash, so that none moves "
        "into training on another night.",
    )
    max_held_out: int = Field(
        500,
        ge=1,
        description="At most so many held-out pairs of each channel are measured, those whose conversations have the "
        "smallest hashes, so that they stay the same ones. The others are kept out of training all the same.",
    )
    probes_path: str | None = Field(
        None,
        description="JSON file with recall probes, a list `facts` as `memory/demo/README.md` explains it; the path "
        "starts at the project. Null measures no recall.",
    )
    general_text_path: str | None = Field(
        None,
        description="JSON file with a list `drift` of chats, each with `prompt` and `completion`, lists of messages of "
        "`role` and `content`; the path starts at the project. Null measures no drift.",
    )
    max_new_tokens: int = Field(32, ge=1, description="Length of an answer to a recall probe, in tokens.")
