"""The typed config of a training run."""

from training.config.loading import ConfigError, load_config, load_section
from training.config.schema import ChannelFilters, TrainingConfig

__all__ = ["ChannelFilters", "ConfigError", "TrainingConfig", "load_config", "load_section"]
