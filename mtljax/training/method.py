"""The weighting or aggregator of a configuration, and what its options wrap around it."""

import inspect
from collections.abc import Callable
from typing import Any

import jax

from mtljax import aggregation, weighting
from mtljax.errors import UserError
from mtljax.presets import Config
from mtljax.step.method import GRADIENT_SIGNALS, Method, check_heads
from mtljax.tasks import suggestion
from mtljax.weighting import Weighting, wrappers
from mtljax.weighting.common.arguments import check_count, check_positive

WRAPPERS: dict[str, Callable[[Weighting, Any], Weighting]] = {
    "normalize": lambda method, by: wrappers.normalize(method, by),
    "scale": lambda method, to: wrappers.scale(method, to),
    "rescale": lambda method, to: wrappers.rescale(method, to),
    "cr_mogm": lambda method, alpha: wrappers.cr_mogm(method, alpha),
    "moving_average": lambda method, alpha: wrappers.moving_average(method, alpha),
    "every": lambda method, k: wrappers.every(method, k),
}
"""Options that wrap any weighting, from the innermost wrapper to the outermost."""

STEP_OPTIONS = ("heads", "inner_lr", "inner_steps")
"""Options that the step reads, not the method."""

GROUPS: dict[str, Callable[[str], str]] = {
    "leaf": lambda path: path,
    "module": lambda path: path.rpartition("/")[0],
    "top": lambda path: path.partition("/")[0],
}
"""By name, from the path of a shared parameter to its group: arrays, modules, outermost modules."""


def make_method(config: Config, num_tasks: int) -> Method:
    """The method that a configuration names, with what its options wrap around it.

    In addition to the method's own options, `weighting_options` may have

    - ``normalize``, ``scale``, ``rescale``, ``moving_average`` (or ``cr_mogm``), ``every``: put
      around the method in this order, see `mtljax.weighting.wrappers`;
    - ``groups``: ``'leaf'``, ``'module'`` or ``'top'``, for separate weights in each group of the
      shared parameters, see `mtljax.aggregation.per_group`;
    - ``heads``: ``'own'`` or ``'weighted'``, see `mtljax.training.make_step`;
    - ``inner_lr`` and ``inner_steps`` of bilevel methods, see `mtljax.training.Method`.

    An option that the method has itself goes to the method, except ``every``, which is always a
    wrapper, the outermost. A name that is both a weighting and an aggregator is the aggregator if
    an option is given that only the aggregator has.

    Args:
      config: the configuration.
      num_tasks: the number of tasks T.

    Returns:
      A `Method`.

    Raises:
      UserError: no method has that name, or it does not take the options or this number of tasks.
    """
    name = config.weighting
    methods = {**weighting.METHODS, **aggregation.METHODS}
    if name not in methods:
        raise UserError(f"weighting {name!r}: unknown{suggestion(name, methods)}")
    try:
        return _make(name, dict(config.weighting_options), num_tasks)
    except (TypeError, ValueError) as error:
        raise UserError(f"weighting {name!r}: {error}") from None


def _make(name: str, options: dict[str, Any], num_tasks: int) -> Method:
    # Which options are the method's, which wrap it, and which are the step's. `every` is never the
    # method's: the outermost wrapper says which steps need gradients.
    is_weighting = name in weighting.METHODS
    method_options = _options_of(weighting.METHODS[name]) if is_weighting else set()
    method_options -= {"every"}
    around = {
        option: options.pop(option)
        for option in (*WRAPPERS, "groups", *STEP_OPTIONS)
        if option in options and option not in method_options
    }
    if {"cr_mogm", "moving_average"} <= around.keys():
        raise ValueError("cr_mogm and moving_average are two names of one option")
    step_options = {option: around.pop(option) for option in STEP_OPTIONS if option in around}
    if "inner_lr" in step_options:
        check_positive("inner_lr", step_options["inner_lr"])
    if "inner_steps" in step_options:
        check_count("inner_steps", step_options["inner_steps"])

    # An aggregator acts on the gradients themselves: nothing wraps it.
    if not is_weighting or (name in aggregation.METHODS and options.keys() - method_options):
        if around:
            raise ValueError(f"{next(iter(around))} is for weightings, and this is an aggregator")
        rule = aggregation.METHODS[name](num_tasks, **options)
        requires = aggregation.REQUIRES.get(name, frozenset({"losses"}))
    else:
        groups = around.pop("groups", None)
        rule = weighting.METHODS[name](**options)
        for option, wrap in WRAPPERS.items():
            if option in around:
                rule = wrap(rule, around[option])
        jax.eval_shape(lambda: rule.init(num_tasks))  # raises for a number that it cannot weight
        requires = rule.requires
        if groups is not None:
            if groups not in GROUPS:
                raise ValueError(f"groups must be one of {', '.join(GROUPS)}, got {groups!r}")
            if requires & {"cross_gramian", "validation_gradients"}:
                raise ValueError("groups: not for methods that read products of several batches")
            rule = aggregation.per_group(rule, num_tasks, GROUPS[groups])
            requires = requires - GRADIENT_SIGNALS
            step_options["takes_rows"] = True
    method = Method(rule, requires, **step_options)
    check_heads(method)
    return method


def _options_of(factory: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(factory).parameters)
