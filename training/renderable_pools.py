"""Pools without the pairs that the base model's chat template refuses."""

from pathlib import Path
from typing import TypeVar

from transformers import PreTrainedTokenizerBase

from training.config import TrainingConfig
from training.datasets import PreferenceRecord, SftRecord
from training.sampling.plan import Channel
from training.sampling.schedule import CHANNEL_NAMES
from training.selection import NotEnoughPairs, Pool, Pools, check_not_both_empty, checked_pool
from training.trainer.base_model import BaseModelError, load_tokenizer
from training.trainer.renderable import Refused, renderable_records

_Record = TypeVar("_Record", bound=SftRecord | PreferenceRecord)


def renderable_pools(pools: Pools, config: TrainingConfig, *, models_dir: Path) -> Pools:
    """Return the pools without the pairs that the template refuses, which are among what was skipped then.

    Where the model is not there, they are what they were.

    Raises:
        NotEnoughPairs: the template refuses all that a channel has to train, or too few are left; which, it says.

    """
    try:
        tokenizer = load_tokenizer(config, cache_dir=models_dir)
    except BaseModelError:
        # The run fails by it, and its row says so.
        return pools
    sft = _renderable("sft", pools.sft, config, tokenizer)
    preference = _renderable("preference", pools.preference, config, tokenizer)
    try:
        found = Pools(checked_pool("sft", sft, config), checked_pool("preference", preference, config))
        check_not_both_empty(config, len(found.sft.train), len(found.preference.train))
    except NotEnoughPairs as few:
        refused = [str(each) for each in (*sft.skipped, *preference.skipped) if isinstance(each, Refused)]
        raise NotEnoughPairs("; ".join([str(few), *(f"skipped were {each}" for each in refused)])) from few
    return found


def _renderable(
    channel: Channel, pool: Pool[_Record], config: TrainingConfig, tokenizer: PreTrainedTokenizerBase
) -> Pool[_Record]:
    name = CHANNEL_NAMES[channel]
    train, refused = renderable_records(pool.train, tokenizer, kind=f"{name} pairs")
    held_out, refused_too = renderable_records(pool.held_out, tokenizer, kind=f"held-out {name} pairs")
    if refused is not None and not train:
        raise NotEnoughPairs(
            f"model_name_or_path: the chat template of {config.model_name_or_path} refuses all {len(pool.train)} "
            f"{name} pairs: {refused.reason}"
        )
    return Pool(train, held_out, (*pool.skipped, *filter(None, (refused, refused_too))))
