"""Per-task gradients, all at once along an axis of tasks."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.own_params import private_of, with_private_gradient
from mtljax.gradients.problem import (
    Aux,
    Problem,
    aux_zeros,
    group_key,
    head_gradients,
    stack_trees,
    task_key,
    unstack_by_task,
)
from mtljax.gradients.same_shapes import why_heads_differ
from mtljax.gradients.tables import encoder_vjp, sort_rows


def vmapped(problem: Problem) -> tuple[jax.Array, Any, dict[str, Any], Aux]:
    """One trace of the encoder for all groups; heads of equal shapes are batched too.

    Args:
      problem: the problem, with T groups of one task and equal shapes.

    Returns:
      Losses ``[T]``, shared gradients ``[T, *param]``, head gradients by task, and what encoders
      and heads returned besides.
    """
    tasks = list(problem.heads)
    group_of = {task: name for name, examples in problem.batch.items() for task in examples.targets}
    names = list(problem.batch)
    inputs = stack_trees([problem.batch[group_of[task]].inputs for task in tasks])
    group_indices = jnp.array([names.index(group_of[task]) for task in tasks])
    heads_stack = why_heads_differ(problem) is None
    params = [problem.head_params[task] for task in tasks]
    privates = stack_trees([private_of(of_task) for of_task in params])
    targets = [problem.batch[group_of[task]].targets[task] for task in tasks]
    aux_like = tuple(aux_zeros(problem, group_of[task], task) for task in tasks)
    unstacked_heads = _unstacked_heads(problem, names[0], tasks, params, targets, aux_like)

    def gradients_of(index, group_index, inputs, private, head_arguments):
        key = group_key(problem, group_index)
        floating, vjp, encoded = encoder_vjp(problem, names[0], inputs, key, private)
        if heads_stack:
            loss, head_grad, cotangent, aux = head_gradients(
                problem,
                names[0],
                tasks[0],
                head_arguments[0],
                floating,
                encoded.others,
                head_arguments[1],
                task_key(problem, index),
            )
        else:
            loss, cotangent, head_grad, aux = unstacked_heads(index, floating, encoded.others)
        shared, *of_private = vjp(cotangent)
        return loss, (shared, tuple(of_private)), encoded.aux, head_grad, aux

    head_arguments = (stack_trees(params), stack_trees(targets)) if heads_stack else ()
    of_heads = 0 if heads_stack else None
    run = jax.vmap(gradients_of, out_axes=(0, 0, 0, of_heads, of_heads))
    losses, (shared, of_private), encoder_aux, head_grads, head_aux = run(
        jnp.arange(len(tasks)), group_indices, inputs, privates, head_arguments
    )
    by_task = unstack_by_task(encoder_aux, tasks)
    group_aux = {group_of[task]: by_task[task] for task in tasks}
    if heads_stack:
        head_grads, head_aux = (unstack_by_task(tree, tasks) for tree in (head_grads, head_aux))
    else:
        head_grads, head_aux = (
            dict(zip(tasks, tree, strict=True)) for tree in (head_grads, head_aux)
        )
    of_private = unstack_by_task(of_private, tasks)
    head_grads = {t: with_private_gradient(head_grads[t], of_private[t]) for t in tasks}
    return losses, sort_rows(shared), head_grads, Aux(group_aux, head_aux)


def _unstacked_heads(
    problem: Problem, name: str, tasks: list[str], params: Any, targets: Any, aux_like: Any
) -> Any:
    """Heads of different shapes inside the mapped function: its vmap rule runs them one by one.

    So the encoder's residuals stay inside one `vmap`, where what does not depend on the task, such
    as the weights, is not repeated for each.
    """
    dtype = jax.dtypes.canonicalize_dtype(float)

    @jax.custom_batching.custom_vmap
    def heads_of(index, floating, others):
        # Only traced for its shapes: `index` is mapped even where the features are not, so that the
        # rule below always runs instead.
        del index, others
        zeros = tuple(jax.tree.map(jnp.zeros_like, head) for head in params)
        return jnp.zeros((), dtype), jax.tree.map(jnp.zeros_like, floating), zeros, aux_like

    @heads_of.def_vmap
    def rule(size, batched, indices, floating, others):
        del size, indices
        losses, cotangents, head_grads, head_aux = [], [], [], []
        for i, task in enumerate(tasks):

            def of_task(leaf, is_batched, i=i):
                return leaf[i] if is_batched else leaf

            loss, head_grad, cotangent, aux = head_gradients(
                problem,
                name,
                task,
                params[i],
                jax.tree.map(of_task, floating, batched[1]),
                jax.tree.map(of_task, others, batched[2]),
                targets[i],
                task_key(problem, i),
            )
            losses.append(loss.astype(dtype))
            cotangents.append(cotangent)
            head_grads.append(head_grad)
            head_aux.append(aux)
        # Losses and cotangents have the mapped axis; what a head returns is of one task only.
        out = (jnp.stack(losses), stack_trees(cotangents), tuple(head_grads), tuple(head_aux))
        is_mapped = jax.tree.map(lambda _: True, out)
        return out, (*is_mapped[:2], *jax.tree.map(lambda _: False, is_mapped[2:]))

    return heads_of
