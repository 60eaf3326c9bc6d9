"""The Optax optimizer of a configuration."""

import jax
import optax

from mtljax.presets import OptimizerConfig


def learning_rate_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """The learning rate by step: a linear rise, then the decay that the configuration names.

    Args:
      config: the configuration.
      steps: steps of the whole run.

    Returns:
      A function of the number of updates.
    """
    updates = max(1, steps // config.accumulate)
    warmup = min(config.warmup_steps, updates - 1)
    peak, final = config.learning_rate, config.learning_rate * config.final_fraction
    rest = max(1, updates - warmup)
    match config.schedule:
        case "cosine":
            decay = optax.cosine_decay_schedule(peak, rest, config.final_fraction)
        case "linear":
            decay = optax.linear_schedule(peak, final, rest)
        case _:
            decay = optax.constant_schedule(peak)
    if not warmup:
        return decay
    # The first update has a rate above 0: it would be lost otherwise.
    rise = optax.linear_schedule(peak / (warmup + 1), peak, warmup)
    return optax.join_schedules([rise, decay], [warmup])


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Clipping, and AdamW with a schedule.

    Weight decay covers matrices only, not biases and norms. Gradients are accumulated by the step,
    before they get here.

    Args:
      config: the configuration.
      steps: steps of the whole run.

    Returns:
      An Optax transformation.
    """
    adamw = optax.adamw(
        learning_rate_schedule(config, steps),
        b1=config.b1,
        b2=config.b2,
        weight_decay=config.weight_decay,
        mask=_matrices,
    )
    parts = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
    return optax.chain(*parts, adamw)


def _matrices(params: optax.Params) -> optax.Params:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
