"""Training: batches, the training step, the loop, schedules, callbacks."""
