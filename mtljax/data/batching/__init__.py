"""From encoded rows to the batches of steps: mixtures, schedules and order."""
