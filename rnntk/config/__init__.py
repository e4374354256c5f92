"""Configurations: fields, checks and configuration files."""

from rnntk.config.configs import (
    DistributeConfig,
    MnistConfig,
    ModelConfig,
    RunConfig,
    SampleConfig,
    TextConfig,
    TrainConfig,
    overridden,
)
from rnntk.config.fields import Config, flag, typed_setting
from rnntk.config.files import (
    corpus_settings,
    find_config,
    place_of,
    read_config,
    read_toml,
    shipped_config,
)

__all__ = [
    "Config", "DistributeConfig", "MnistConfig", "ModelConfig", "RunConfig", "SampleConfig", "TextConfig",
    "TrainConfig", "corpus_settings", "find_config", "flag", "overridden", "place_of", "read_config", "read_toml",
    "shipped_config", "typed_setting",
]  # fmt: skip
