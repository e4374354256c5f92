"""TensorFlow for the training tests: silent, on the CPU, with the thread pools of a real run."""

from __future__ import annotations

from rnntk.training import device

device.ready("cpu", None)
