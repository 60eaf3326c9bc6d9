"""Optax aggregators: from per-task gradients ``[T, *param]`` to one direction ``[*param]``."""

from mtljax.aggregation.from_weighting import from_weighting as from_weighting
