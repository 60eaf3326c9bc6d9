"""From the batch of a step to its direction: per-task gradients, their weighting, their sum."""
