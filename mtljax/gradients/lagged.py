"""The weighted direction and the Gramian of a step, without its gradients side by side."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.gradients.combine import combine
from mtljax.gradients.gramian import gramian
from mtljax.gradients.group_heads import in_order
from mtljax.gradients.problem import Encode, Examples, Head, Problem, make_problem
from mtljax.gradients.scanned import scan_tasks
from mtljax.gradients.sketch import sketch as project
from mtljax.gradients.task_gradients import chosen_strategy, compute
from mtljax.gradients.unrolled import group_pass


class LaggedGradients(NamedTuple):
    """What is left of the per-task gradients of a step.

    Attributes:
      losses: ``[T]``.
      direction: ``sum_i w_i g_i`` of the shared parameters.
      gramian: ``[T, T]``, of this step's gradients, for the weights of the next.
      heads: by task, the gradient of its own loss with respect to its head.
      sketches: ``[T, m]``, if there were any; of several batches, they can be added up.
    """

    losses: jax.Array
    direction: Any
    gramian: jax.Array
    heads: dict[str, Any]
    sketches: jax.Array | None = None


def lagged_gradients(
    encode: Encode | Mapping[str, Encode],
    heads: Mapping[str, Head],
    shared: Any,
    head_params: Mapping[str, Any],
    batch: Mapping[str, Examples],
    weights: ArrayLike,
    *,
    key: jax.Array | None = None,
    strategy: str = "auto",
    sketch: int | None = None,
    seed: int = 0,
) -> LaggedGradients:
    """Combines per-task gradients with weights that are known beforehand, and measures them.

    The weights are those of the step before: one step late, they let each gradient go as soon as
    it was added. With a `sketch` one task's gradient is held at a time, beside the sum, and the
    Gramian is that of random projections. Without, it is exact, and what is held is up to XLA: it
    can go leaf by leaf, but parameters that a scan over layers stacks arrive together.

    Args:
      encode: see `task_gradients`, as are `heads`, `shared`, `head_params`, `batch` and `key`.
      heads: by task.
      shared: parameters of the encoder.
      head_params: by task.
      batch: `Examples` by input group.
      weights: ``[T]``.
      key: of the step.
      strategy: see `task_gradients`; with a sketch, `'vmapped'` is an error.
      sketch: None, or the size of the projection: see `mtljax.gradients.sketch`.
      seed: of the projection.

    Returns:
      `LaggedGradients`.

    Raises:
      ValueError: as `task_gradients`; weights of another shape; `'vmapped'` with a sketch.
    """
    problem = make_problem(encode, heads, shared, head_params, batch, key)
    weights = jnp.asarray(weights)
    if weights.shape != (len(heads),):
        raise ValueError(f"weights must have shape ({len(heads)},), got {weights.shape}")
    strategy = chosen_strategy(problem, strategy)
    if sketch is None:
        losses, rows, own = compute(problem, strategy)
        return LaggedGradients(losses, combine(weights, rows), gramian(rows), own)
    if strategy == "vmapped":
        raise ValueError("strategy 'vmapped': a sketch goes from task to task; use 'scanned'")
    go = _scanned if strategy == "scanned" else _unrolled
    losses, direction, sketches, own = go(problem, weights, sketch, seed)
    return LaggedGradients(losses, direction, gramian(sketches), own, sketches)


def _scanned(problem: Problem, weights: jax.Array, size: int, seed: int) -> Any:
    def keep(place, total, one):
        row = project(jax.tree.map(lambda leaf: leaf[None], one.shared), size, seed)[0]
        return _added(total, weights[place], one.shared), (one.loss, row)

    total, (losses, sketches), heads = scan_tasks(problem, _zeros(problem.shared), keep)
    return losses, _narrowed(total, problem.shared), sketches, heads


def _unrolled(problem: Problem, weights: jax.Array, size: int, seed: int) -> Any:
    order = list(problem.heads)
    total, blocks, heads = _zeros(problem.shared), [], {}
    for place, name in enumerate(problem.batch):
        pull_back, losses, slopes, own = group_pass(problem, place, name)
        heads |= own

        def add(total: Any, row: Any, pull_back: Any = pull_back) -> tuple[Any, jax.Array]:
            weight, slope = row
            (shared,) = pull_back(slope)
            found = project(jax.tree.map(lambda leaf: leaf[None], shared), size, seed)[0]
            return _added(total, weight, shared), found

        rows = (weights[jnp.array([order.index(task) for task in own])], slopes)
        if len(own) == 1:
            total, sketch = add(total, jax.tree.map(lambda leaf: leaf[0], rows))
            sketches = sketch[None]
        else:
            # A loop, so that there is one backward pass to compile, and one gradient at a time.
            total, sketches = jax.lax.scan(add, total, rows)
        blocks.append((losses, sketches))
    found = jax.tree.map(lambda *rows: jnp.concatenate(rows), *blocks)
    losses, sketches = in_order(order, list(heads), found)
    return (
        losses,
        _narrowed(total, problem.shared),
        sketches,
        {task: heads[task] for task in order},
    )


def _zeros(shared: Any) -> Any:
    def wide(leaf):
        return jnp.zeros(jnp.shape(leaf), jnp.promote_types(jnp.result_type(leaf), jnp.float32))

    return jax.tree.map(wide, shared)


def _added(total: Any, weight: jax.Array, row: Any) -> Any:
    # A weight of 0 leaves a task out, whatever its gradient is.
    return jax.tree.map(
        lambda sum_, leaf: (
            sum_ + jnp.where(weight != 0, weight.astype(sum_.dtype) * leaf.astype(sum_.dtype), 0)
        ),
        total,
        row,
    )


def _narrowed(total: Any, shared: Any) -> Any:
    return jax.tree.map(lambda leaf, like: leaf.astype(jnp.result_type(like)), total, shared)
