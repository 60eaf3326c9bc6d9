"""Checks of a configuration that need the model that it describes."""

import dataclasses

import jax
import optax

from mtljax.errors import UserError
from mtljax.presets import Config
from mtljax.step import Method, train_step
from mtljax.step.strategy import choose_strategy
from mtljax.training.learned_rates import with_measured_steps
from mtljax.training.model import Model, initial_params
from mtljax.training.objective import alike_heads, has_penalty, penalty
from mtljax.training.objectives.model_objectives import model_objectives
from mtljax.training.parameter_rates import check_patterns, freezes_encoder
from mtljax.training.step import step_options


def check_penalty(config: Config, model: Model) -> None:
    """Check that the penalties of a configuration cover some of the parameters.

    Args:
      config: the configuration.
      model: its model.

    Raises:
      UserError: an expression is not valid, or matches no path; names the expression.
    """
    regularizer = config.regularizer
    if not has_penalty(regularizer):
        return
    factors = {name: getattr(regularizer, name) for name in ("heads_together", "heads_relation")}
    given = [name for name, factor in factors.items() if factor]
    if given and not alike_heads(model):
        raise UserError(
            f"regularizer.{given[0]}: no two tasks have heads of their own with one kind, loss "
            "and classes"
        )
    params = jax.eval_shape(lambda: initial_params(model))
    try:
        jax.eval_shape(lambda params: penalty(regularizer, params), params)
    except ValueError as error:
        raise UserError(f"regularizer: {error}") from None


def check_parameters(config: Config, model: Model, method: Method) -> None:
    """Check which parameters are frozen, and what factors of the learning rate they have.

    Args:
      config: the configuration.
      model: its model.
      method: its method.

    Raises:
      UserError: an expression is not valid or finds no parameter, or too much is frozen.
    """
    frozen = bool(config.optimizer.frozen) or freezes_encoder(config)
    if not (frozen or config.optimizer.rates):
        return
    params = jax.eval_shape(lambda: initial_params(model))
    check_patterns(params, config.optimizer, config.encoder.layers)
    if not frozen:
        return
    options = step_options(config, model)
    # Learned rates may read gradients where the method reads none.
    telemetry = options.telemetry or with_measured_steps(config)[0]
    options = dataclasses.replace(options, accumulate=1, telemetry=telemetry)
    try:
        step = train_step(model_objectives(model), method, optax.identity(), options)
        jax.eval_shape(step.init, params)
    except ValueError as error:
        option = "optimizer." if config.optimizer.frozen else "sharing.freeze: "
        raise UserError(f"{option}{error}") from None


def check_strategy(config: Config, model: Model, method: Method) -> None:
    """Check that the strategy of a configuration suits its method, its tasks and their mixture.

    Args:
      config: the configuration.
      model: its model.
      method: its method.

    Raises:
      UserError: it does not; names the strategy and what it does not suit.
    """
    strategy = config.gradients.strategy
    option = f"gradients.strategy {strategy!r}"
    if strategy in ("vmapped", "scanned"):
        _check_equal_groups(option, model)
    groups = [group.name for group in model.layout.groups]
    if strategy == "representation" and len(groups) > 1:
        raise UserError(
            f"{option}: all tasks must read the same inputs, got groups {', '.join(groups)}"
        )
    try:
        choose_strategy(model_objectives(model), method, step_options(config, model))
    except ValueError as error:
        raise UserError(f"gradients.{error}") from None
    mixture = "mixture.subset" if config.mixture.schedule == "off" else "mixture.schedule"
    if config.mixture.groups_in_step(len(groups)) or config.mixture.subset:
        if config.optimizer.accumulate > 1:
            raise UserError(f"{mixture}: not with optimizer.accumulate")
        if strategy in ("vmapped", "scanned"):
            raise UserError(f"{mixture}: not with {option}")


def _check_equal_groups(option: str, model: Model) -> None:
    """Check that all input groups can be stacked: one task each, equal masks and shapes."""
    layout, attention = model.layout, model.network.attention
    first = layout.groups[0]
    for group in layout.groups:
        if len(group.tasks) > 1:
            names = ", ".join(task.name for task in group.tasks)
            raise UserError(f"{option}: every task must have inputs of its own, {names} share them")
        modes = attention[first.name], attention[group.name]
        if modes[0] != modes[1]:
            raise UserError(
                f"{option}: {first.name} and {group.name} must be read under one mask, got "
                f"attention {modes[0]} and {modes[1]}"
            )
        sizes = [
            (shape.rows, shape.row_length, shape.affixes)
            for shape in (layout.shapes[first.name], layout.shapes[group.name])
        ]
        if sizes[0] != sizes[1]:
            shown = " and ".join(f"{rows} x {length}" for rows, length, _ in sizes)
            raise UserError(
                f"{option}: batches of {first.name} and {group.name} must have one shape, got "
                f"{shown}"
            )
