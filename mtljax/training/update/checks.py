"""Checks of a configuration that need the model it describes."""

import jax

from mtljax.errors import UserError
from mtljax.presets import Config
from mtljax.training.model import Model, initial_params
from mtljax.training.objective import penalty
from mtljax.training.update.strategy import choose_strategy
from mtljax.training.update.types import Method


def check_penalty(config: Config, model: Model) -> None:
    """Check that the penalties of a configuration cover some of the parameters.

    Raises:
      UserError: naming the expression that is not valid, or that no path matches.
    """
    if not (config.regularizer.l2 or config.regularizer.group_lasso):
        return
    params = jax.eval_shape(lambda: initial_params(model))
    try:
        jax.eval_shape(lambda params: penalty(config.regularizer, params), params)
    except ValueError as error:
        raise UserError(f"regularizer: {error}") from None


def check_strategy(config: Config, model: Model, method: Method) -> None:
    """Check that gradients can be found in the way that a configuration names.

    Raises:
      UserError: naming the way and what it does not suit.
    """
    try:
        choose_strategy(model, method, config)
    except ValueError as error:
        raise UserError(str(error)) from None
    if config.mixture.subset and config.optimizer.accumulate > 1:
        raise UserError("mixture.subset: not with optimizer.accumulate")
    if config.mixture.subset and config.gradients.strategy in ("vmapped", "scanned"):
        raise UserError(
            f"mixture.subset: not with gradients.strategy {config.gradients.strategy!r}"
        )
