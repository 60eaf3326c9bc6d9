"""Per-task gradients at the cost of one gradient, where each task has a batch of its own."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from mtljax.gradients.differentiable import check_differentiable
from mtljax.gradients.problem import (
    Aux,
    Encode,
    Examples,
    Head,
    Problem,
    make_problem,
)
from mtljax.gradients.same_shapes import alike_groups, why_groups_differ
from mtljax.gradients.scanned import scanned
from mtljax.gradients.tables import with_tables
from mtljax.gradients.unrolled import in_sets, unrolled
from mtljax.gradients.vmapped import vmapped


class TaskGradients(NamedTuple):
    """Losses and their gradients, T tasks in the order of the heads.

    Attributes:
      losses: ``[T]``, float32 or wider.
      shared: the gradient of each loss with respect to the shared parameters, ``[T, *param]``; a
        large table of which the encoders `look_up` few rows is a `RowGradients`.
      heads: by task, the gradient of its own loss with respect to its head.
      aux: with `has_aux`, what encoders and heads returned besides; else None.
    """

    losses: jax.Array
    shared: Any
    heads: dict[str, Any]
    aux: Aux | None = None


_COMPUTE: dict[str, Callable[[Problem], tuple[jax.Array, Any, dict[str, Any], Aux]]] = {
    "unrolled": unrolled,
    "vmapped": vmapped,
    "scanned": scanned,
}

_IN_SETS = "in_sets"

STRATEGIES = ("auto", *_COMPUTE)
"""Names of the strategies that compute per-task gradients; they agree to rounding."""


def task_gradients(
    encode: Encode | Mapping[str, Encode],
    heads: Mapping[str, Head],
    shared: Any,
    head_params: Mapping[str, Any],
    batch: Mapping[str, Examples],
    *,
    key: jax.Array | None = None,
    strategy: str = "auto",
    has_aux: bool = False,
) -> TaskGradients:
    """The gradient of every task's loss, each example differentiated once.

    Tasks that have batches of their own cost what the gradient of the summed loss costs: a task's
    gradient is a sum over its own examples, and only the last sum, over the tasks, is left out.
    Tasks of one input group share its forward pass, and each has a backward pass.

    | strategy | requires | compile time grows with | activations held |
    |---|---|---|---|
    | `'unrolled'` | nothing | the number of groups | as XLA schedules them |
    | `'vmapped'` | one encoder, one task per group, equal shapes | heads of unequal shapes | all |
    | `'scanned'` | the same | the same | those of one group |
    | `'auto'` | nothing | groups that are not alike | those of one group of a set |

    `'auto'` sorts the groups into sets that are alike: one task each, one encoder, equal shapes,
    heads that are one function. Each set is `'scanned'`, other groups are `'unrolled'`.

    Args:
      encode: ``(shared, inputs) -> features``, or one by input group. Features are a tree of arrays
        ``[B, ...]``, where B is the leading axis of the inputs; parts without it are marked as
        `Unbatched`. Floating point and complex leaves are differentiated.
      heads: by task, ``(params, features, targets) -> loss``, a scalar. Their order is that of the
        tasks.
      shared: the parameters of the encoder, a tree of floating point arrays.
      head_params: by task, the parameters of its head, a tree of floating point arrays.
      batch: by input group, its `Examples`, which include masks, segments and weights.
      key: the random key of the step. If given, encoders and heads take a key as last argument:
        ``fold_in(key, g)`` for the g-th group by name, ``fold_in(key, len(batch) + i)`` for the
        i-th task.
      strategy: one of `STRATEGIES`, as in the table.
      has_aux: whether encoders return ``(features, aux)`` and heads ``(loss, aux)``, where `aux` is
        any tree of arrays that is not differentiated, such as statistics of the batch or metrics.

    Returns:
      `TaskGradients`.

    Raises:
      TypeError: a parameter is not real floating point; named by task and path.
      ValueError: tasks of `heads`, `head_params` and `batch` differ; a head returns no scalar;
        features have no batch axis; an unknown strategy, or one that the shapes do not allow.
        Raised at trace time, with the names of the tasks and the shapes.

    >>> import jax.numpy as jnp
    >>> def encode(shared, inputs):
    ...     return inputs @ shared
    >>> def head(params, features, targets):
    ...     return jnp.mean((features @ params - targets) ** 2)
    >>> batch = {
    ...     "a": Examples(jnp.ones((3, 2)), {"first": jnp.zeros(3)}),
    ...     "b": Examples(jnp.ones((5, 2)), {"second": jnp.ones(5)}),
    ... }
    >>> params = {"first": jnp.ones(2), "second": jnp.ones(2)}
    >>> gradients = task_gradients(encode, dict.fromkeys(params, head), jnp.eye(2), params, batch)
    >>> gradients.losses, gradients.shared.shape
    (Array([4., 1.], dtype=float32), (2, 2, 2))
    """
    problem = make_problem(encode, heads, shared, head_params, batch, key, has_aux)
    check_differentiable(problem)
    strategy = chosen_strategy(problem, strategy)
    problem = with_tables(problem, alike=strategy in ("scanned", "vmapped"))
    losses, shared_grads, head_grads, aux = compute(problem, strategy)
    return TaskGradients(losses, shared_grads, head_grads, aux if has_aux else None)


def compute(problem: Problem, strategy: str) -> tuple[jax.Array, Any, dict[str, Any], Aux]:
    """Losses, gradients and aux of a checked problem, by what `chosen_strategy` returns."""
    return in_sets(problem) if strategy == _IN_SETS else _COMPUTE[strategy](problem)


def chosen_strategy(problem: Problem, strategy: str) -> str:
    """The strategy that computes the gradients: `'auto'` is resolved, the others are checked.

    Args:
      problem: the problem, from `make_problem`.
      strategy: one of `STRATEGIES`.

    Returns:
      One of `STRATEGIES`, but not `'auto'`; or `'in_sets'`, where some groups can be scanned
      together, and others not.

    Raises:
      ValueError: no such strategy, or one that the shapes do not allow.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, got {strategy!r}")
    if strategy == "auto":
        sets = alike_groups(problem)
        if len(sets) == len(problem.batch):
            return "unrolled"
        return "scanned" if len(sets) == 1 else _IN_SETS
    if strategy != "unrolled" and (why := why_groups_differ(problem)):
        raise ValueError(f"strategy {strategy!r}: {why}")
    return strategy
