"""Stage 4: training. Lanes, the step, the loop, schedules, callbacks."""
