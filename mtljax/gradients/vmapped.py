"""Per-task gradients, all at once along an axis of tasks."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.problem import (
    Problem,
    encoded,
    group_key,
    head_gradients,
    stacked,
    task_key,
    unstacked,
)
from mtljax.gradients.same_shapes import unlike_heads


def vmapped(problem: Problem) -> tuple[jax.Array, Any, dict[str, Any]]:
    """One trace of the encoder for all groups; heads are batched where they are alike.

    Returns:
      Losses ``[T]``, shared gradients ``[T, *param]``, head gradients by task.
    """
    order = list(problem.heads)
    groups = {task: name for name, rows in problem.batch.items() for task in rows.targets}
    names = list(problem.batch)
    inputs = stacked([problem.batch[groups[task]].inputs for task in order])
    group_places = jnp.array([names.index(groups[task]) for task in order])
    alike = unlike_heads(problem) is None
    params = [problem.head_params[task] for task in order]
    targets = [problem.batch[groups[task]].targets[task] for task in order]
    heads_of = _unlike(problem, names[0], order, params, targets)

    def one(place, group_place, inputs, own):
        key = group_key(problem, group_place)
        floating, pull_back, others = jax.vjp(
            lambda shared: encoded(problem, names[0], shared, inputs, key),
            problem.shared,
            has_aux=True,
        )
        if alike:
            loss, head, slope = head_gradients(
                problem,
                names[0],
                order[0],
                own[0],
                floating,
                others,
                own[1],
                task_key(problem, place),
            )
        else:
            loss, slope, head = heads_of(place, floating, others)
        (shared,) = pull_back(slope)
        return loss, shared, head

    places = jnp.arange(len(order))
    own = (stacked(params), stacked(targets)) if alike else ()
    run = jax.vmap(one, out_axes=(0, 0, 0 if alike else None))
    losses, shared, heads = run(places, group_places, inputs, own)
    if alike:
        return losses, shared, unstacked(heads, order)
    return losses, shared, dict(zip(order, heads, strict=True))


def _unlike(problem: Problem, name: str, order: list[str], params: Any, targets: Any) -> Any:
    """Heads of unlike shapes within the mapped function: in its rule, each gets its own row.

    So the encoder's residuals stay inside of one `vmap`, where what does not depend on the task,
    its weights, is not repeated.
    """
    dtype = jax.dtypes.canonicalize_dtype(float)

    @jax.custom_batching.custom_vmap
    def heads_of(place, floating, others):
        # Never run: `place` is mapped even where the features are not, so that the rule is.
        del place, others
        zeros = tuple(jax.tree.map(jnp.zeros_like, own) for own in params)
        return jnp.zeros((), dtype), jax.tree.map(jnp.zeros_like, floating), zeros

    @heads_of.def_vmap
    def rule(size, batched, places, floating, others):
        del size, places
        losses, slopes, grads = [], [], []
        for i, task in enumerate(order):

            def row(leaf, yes, i=i):
                return leaf[i] if yes else leaf

            loss, own, slope = head_gradients(
                problem,
                name,
                task,
                params[i],
                jax.tree.map(row, floating, batched[1]),
                jax.tree.map(row, others, batched[2]),
                targets[i],
                task_key(problem, i),
            )
            losses.append(loss.astype(dtype))
            slopes.append(slope)
            grads.append(own)
        out = (jnp.stack(losses), stacked(slopes), tuple(grads))
        marks = jax.tree.map(lambda _: True, out)
        return out, (marks[0], marks[1], jax.tree.map(lambda _: False, marks[2]))

    return heads_of
