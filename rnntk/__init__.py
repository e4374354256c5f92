"""rnntk: train, sample and understand recurrent networks on text."""

__version__ = "0.1.0"
