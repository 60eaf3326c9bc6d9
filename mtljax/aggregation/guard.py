"""The part that all aggregators share: Optax's signature, checks, and which tasks count."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from optax.experimental import aggregating

from mtljax.gradients import task_count
from mtljax.gradients.row_gradients import RowGradients, is_rows
from mtljax.gradients.task_axis import leaves_of, reduced


def guard(
    num_tasks: int,
    init: optax.TransformInitFn,
    aggregate: Callable[..., tuple[Any, Any]],
    *,
    requires: Iterable[str] = (),
) -> aggregating.Aggregator:
    """Makes an Optax aggregator of the bare formulas of a method.

    The counterpart of `mtljax.weighting.guard` for methods that act on the per-task gradients
    themselves. It gives all of them the same answers:

    | input | answer |
    |---|---|
    | a task is absent (`mask` false) | it does not count |
    | a number of a task's gradient or loss is NaN or infinite | it does not count |
    | a required keyword is missing | ValueError while tracing |
    | another number of tasks, a wrong shape | ValueError while tracing |
    | a leaf that is not ``[T, *param]`` by the shape of its parameter | ValueError while tracing |
    | a mask that is not boolean, a leaf that is not floating point | TypeError while tracing |
    | a keyword that is not required | ignored, so that the method can stand in an `optax.chain` |
    | gradients in low precision | the direction in their dtypes |

    Args:
      num_tasks: T, the leading axis of the gradients.
      init: ``(params) -> state``, a tree of arrays.
      aggregate: ``(task_grads, state, *, counted, **required) -> (direction, state)``. It gets
        the gradients as they are, leaves ``[T, *param]``: those of a task that does not count may
        be anything. `counted [T]` is boolean. The direction has leaves ``[*param]`` in any
        floating point dtype.
      requires: the keywords of `update` that `aggregate` is called with, such as ``"losses"``.

    Returns:
      An aggregator. Its ``update(task_grads, state, params, *, losses, mask, ...)`` returns the
      direction, to be subtracted, and the new state; ``losses [T]`` and the boolean ``mask [T]``
      are optional unless required.

    >>> def aggregate(task_grads, state, *, counted):
    ...     return counted @ task_grads, state
    >>> method = guard(2, lambda params: (), aggregate)
    >>> task_grads = jnp.array([[1.0, 2.0], [5.0, 0.0]])
    >>> method.update(task_grads, (), mask=jnp.array([True, False]))[0]
    Array([1., 2.], dtype=float32)
    """
    names = tuple(requires)

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        losses: Any = None,
        mask: Any = None,
        **extra_args: Any,
    ) -> tuple[Any, Any]:
        keywords = {**extra_args, "losses": losses}
        check_required(names, keywords)
        check_task_axis(updates, params)
        if losses is not None:
            losses = keywords["losses"] = jnp.asarray(losses)
        counted = counted_tasks(updates, num_tasks, losses, mask)
        required = {name: keywords[name] for name in names}
        direction, state = aggregate(updates, state, counted=counted, **required)
        return jax.tree.map(lambda d, g: d.astype(jnp.result_type(g)), direction, updates), state

    return aggregating.Aggregator(init, update)


def check_required(names: Iterable[str], keywords: dict[str, Any]) -> None:
    """Raises ValueError if a keyword that an `update` requires is missing or None."""
    names = tuple(names)
    if missing := [name for name in names if keywords.get(name) is None]:
        call = ", ".join(f"{name}={name}" for name in names)
        raise ValueError(f"{', '.join(missing)} missing: update(task_grads, state, params, {call})")


def counted_tasks(
    task_grads: Any, num_tasks: int, losses: ArrayLike | None, mask: ArrayLike | None
) -> jax.Array:
    """Returns which tasks count in a step: present, with a finite gradient and a finite loss.

    Args:
      task_grads: a tree of floating point leaves ``[T, *param]``.
      num_tasks: T.
      losses: ``[T]``, or None where they are not known.
      mask: ``[T]``, boolean, or None where all are present.

    Returns:
      Boolean ``[T]``.

    Raises:
      TypeError: the mask is not boolean, or a leaf not floating point.
      ValueError: another number of tasks.
    """
    check_task_count(task_grads, num_tasks)
    counted = jnp.ones(num_tasks, bool) if mask is None else jnp.asarray(mask)
    if counted.dtype != jnp.bool_:
        raise TypeError(f"mask must be boolean, got {counted.dtype}")
    for name, value in (("mask", counted), ("losses", losses)):
        if value is not None and jnp.shape(value) != (num_tasks,):
            raise ValueError(f"{name} must have shape ({num_tasks},), got {jnp.shape(value)}")
    if losses is not None:
        counted = counted & jnp.isfinite(losses)
    return counted & finite_gradients(task_grads)


def finite_gradients(task_grads: Any) -> jax.Array:
    """Returns which tasks have finite gradients only.

    Args:
      task_grads: a tree of floating point leaves ``[T, *param]``, one or more.

    Returns:
      Boolean ``[T]``.

    >>> finite_gradients(jnp.array([[1.0, 2.0], [jnp.nan, 0.0]]))
    Array([ True, False], dtype=bool)
    """
    finite = jnp.ones(task_count(task_grads), bool)
    for leaf in leaves_of(task_grads):
        # The largest size is finite if all are; on a CPU that is faster than to look at each.
        finite = finite & reduced(
            lambda entries: jnp.isfinite(
                jnp.max(jnp.abs(entries), range(1, entries.ndim), initial=0)
            ),
            leaf,
        )
    return finite


def check_task_count(task_grads: Any, num_tasks: int) -> None:
    """Raises ValueError unless the leaves ``[T, *param]`` have `num_tasks` tasks."""
    if (count := task_count(task_grads)) != num_tasks:
        raise ValueError(f"task_grads has {count} tasks, num_tasks is {num_tasks}")


def check_task_axis(task_grads: Any, params: Any) -> None:
    """Raises ValueError unless gradients have one axis more than their parameters.

    A parameter whose leading size happens to be T would else be taken for T gradients.

    Args:
      task_grads: a tree of leaves ``[T, *param]``; `RowGradients` are not checked.
      params: a tree of leaves ``[*param]``; None, or another tree, is not compared.
    """
    if jax.tree.structure(task_grads, is_leaf=is_rows) != jax.tree.structure(params):
        return
    pairs = zip(
        jax.tree_util.tree_leaves_with_path(task_grads, is_leaf=is_rows),
        jax.tree.leaves(params),
        strict=True,
    )
    for (path, leaf), param in pairs:
        if isinstance(leaf, RowGradients) or jnp.shape(leaf)[1:] == jnp.shape(param):
            continue
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        what = f"task_grads: leaf {name!r} of shape {jnp.shape(leaf)}"
        if jnp.shape(leaf) == jnp.shape(param):
            raise ValueError(
                f"{what} is like its parameter and has no task axis; wrappers of gradients without "
                "one, such as optax.MultiSteps, go inside, around the optimizer"
            )
        raise ValueError(f"{what} must be [T, *param] of a parameter of shape {jnp.shape(param)}")
