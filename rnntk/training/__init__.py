"""Stage 4: training. Batches, the training step, the loop, schedules, callbacks."""
