"""Configurations: what can be set, how it is checked, and the files it is read from."""

from rnntk.config.configs import (
    EXPLOSION_STEPS,
    DistributeConfig,
    MachineConfig,
    MnistConfig,
    ModelConfig,
    OptimizationConfig,
    SampleConfig,
    SavingConfig,
    StoppingConfig,
    TextConfig,
    TrainConfig,
)
from rnntk.config.fields import Config, flag, sentence, typed_setting
from rnntk.config.files import (
    corpus_settings,
    find_config,
    line_of,
    read_config,
    read_toml,
    shipped_config,
)

__all__ = [
    "EXPLOSION_STEPS",
    "Config",
    "DistributeConfig",
    "MachineConfig",
    "MnistConfig",
    "ModelConfig",
    "OptimizationConfig",
    "SampleConfig",
    "SavingConfig",
    "StoppingConfig",
    "TextConfig",
    "TrainConfig",
    "corpus_settings",
    "find_config",
    "flag",
    "line_of",
    "read_config",
    "read_toml",
    "sentence",
    "shipped_config",
    "typed_setting",
]
