"""Per-task gradients of a step's losses."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.training.model import Model
from mtljax.training.objective import Params, StepBatch, group_features, head_loss


class TaskGradients(NamedTuple):
    """Losses and their gradients.

    Attributes:
      losses: ``[T]`` float32.
      shared: gradients of each loss with respect to the shared parameters: ``[T, *param]``.
      heads: by task, the gradient of its own loss with respect to its head.
    """

    losses: jax.Array
    shared: Any
    heads: dict[str, Any]


def task_gradients(
    model: Model, params: Params, batch: StepBatch, key: jax.Array | None
) -> TaskGradients:
    """The gradients of every task's loss, each batch read once.

    The forward pass of an input group is shared by its tasks, each of which then has its backward
    pass. So tasks with batches of their own cost what the gradient of their sum does.

    Args:
      model: the model.
      params: its parameters.
      batch: a batch for every input group.
      key: that of `task_losses`.

    Returns:
      `TaskGradients`, in the order of the model's tasks.
    """
    found, shared, heads = {}, {}, {}
    for number, group in enumerate(model.layout.groups):
        rows = batch[group.name]

        def features_of(shared, number=number, rows=rows):
            return group_features(model, number, shared, rows, key)

        features, pull_back = jax.vjp(features_of, params["shared"])
        for place, task in enumerate(group.tasks):

            def loss_of(head, features, number=number, place=place, rows=rows):
                return head_loss(model, number, place, head, features, rows, key)

            # Each head by itself: a gradient that is not finite stays with its task.
            found[task.name], (heads[task.name], slope) = jax.value_and_grad(
                loss_of, argnums=(0, 1), allow_int=True
            )(params["heads"][task.name], features)
            (shared[task.name],) = pull_back(slope)
    order = [task.name for task in model.tasks]
    stacked = jax.tree.map(lambda *rows: jnp.stack(rows), *(shared[name] for name in order))
    return TaskGradients(
        jnp.stack([found[name] for name in order]), stacked, {name: heads[name] for name in order}
    )
