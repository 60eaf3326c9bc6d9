"""The Optax optimizer and the learning-rate schedule of a configuration."""

import re
from collections.abc import Callable
from typing import Any

import jax
import optax

from mtljax.optim import proximal
from mtljax.presets import OptimizerConfig, RegularizerConfig
from mtljax.regularizers import shrink_groups, soft_threshold
from mtljax.training.parameter_rates import decayed, scale_by_factors


def learning_rate_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Return the learning rate by update: a linear warm-up, then the decay of `config.schedule`.

    Args:
      config: of the optimizer.
      steps: steps of the whole run, of which `config.accumulate` make an update.

    Returns:
      A function from the number of updates done to the learning rate of the next.
    """
    updates = max(1, steps // config.accumulate)
    share = config.warmup_share
    warmup = min(round(share * updates) if share else config.warmup_steps, updates - 1)
    peak, final = config.learning_rate, config.learning_rate * config.final_fraction
    decay_updates = max(1, updates - warmup)
    match config.schedule:
        case "cosine":
            decay = optax.cosine_decay_schedule(peak, decay_updates, config.final_fraction)
        case "linear":
            decay = optax.linear_schedule(peak, final, decay_updates)
        case _:
            decay = optax.constant_schedule(peak)
    if not warmup:
        return decay
    # The first update has a rate above 0; at 0 its gradient would be lost.
    rise = optax.linear_schedule(peak / (warmup + 1), peak, warmup)
    return optax.join_schedules([rise, decay], [warmup])


def make_optimizer(
    config: OptimizerConfig,
    steps: int,
    layers: int = 1,
    regularizer: RegularizerConfig = RegularizerConfig(),  # noqa: B008 - immutable
) -> optax.GradientTransformation:
    """Return AdamW with a schedule, after clipping by the global norm (Loshchilov & Hutter 2019).

    Weight decay covers matrices only, not biases and norms. Gradients are accumulated by the train
    step, not here. Where a configuration asks for them, factors of the learning rate come last.

    Args:
      config: of the optimizer.
      steps: steps of the whole run.
      layers: of the encoder, for factors by layer where all stacked layers are frozen.
      regularizer: whose proximal step follows each update, if it has one.

    Returns:
      An Optax transformation.
    """
    adamw = optax.adamw(
        learning_rate_schedule(config, steps),
        b1=config.b1,
        b2=config.b2,
        weight_decay=config.weight_decay,
        mask=decayed,
    )
    parts = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
    parts.append(adamw)
    if config.rates or config.layer_decay < 1 or config.unfreeze:
        parts.append(scale_by_factors(config, layers))
    optimizer = optax.chain(*parts)
    if regularizer.proximal and (regularizer.l1 or regularizer.group_lasso):
        return proximal(
            optimizer, proximal_step(regularizer), learning_rate_schedule(config, steps)
        )
    return optimizer


def proximal_step(config: RegularizerConfig) -> Callable[[Any, jax.Array], Any]:
    """The proximal step of the L1 penalty and the group lasso of a configuration.

    Args:
      config: the penalties.

    Returns:
      A function of parameters and the learning rate.
    """

    def step(params: Any, rate: jax.Array) -> Any:
        def of_leaf(path: Any, leaf: jax.Array) -> jax.Array:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            # Together they are the sparse group lasso, whose proximal operator is one after the
            # other in this order (Friedman, Hastie and Tibshirani 2010).
            if config.l1 and re.search(config.l1_on, name):
                leaf = soft_threshold(leaf, rate * config.l1)
            if config.group_lasso and re.search(config.group_lasso_on, name):
                leaf = shrink_groups(leaf, rate * config.group_lasso)
            return leaf

        return jax.tree_util.tree_map_with_path(of_leaf, params)

    return step
