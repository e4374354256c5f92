"""Run folders: their format, atomic checkpoints, metrics, finding and listing runs."""
