"""The run folder: its format, atomic checkpoints, finding the latest run."""
