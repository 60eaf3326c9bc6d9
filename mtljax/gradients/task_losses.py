"""The losses of all tasks: what `task_gradients` differentiates."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.problem import (
    Encode,
    Examples,
    Head,
    encoded,
    group_key,
    head_loss,
    make_problem,
    task_key,
)


def task_losses(
    encode: Encode | Mapping[str, Encode],
    heads: Mapping[str, Head],
    shared: Any,
    head_params: Mapping[str, Any],
    batch: Mapping[str, Examples],
    *,
    key: jax.Array | None = None,
) -> jax.Array:
    """The losses ``[T]``, each input group encoded once: the forward pass of `task_gradients`.

    For the plain way, the gradient of their weighted sum, and for a second look at a batch with the
    same random keys. Arguments and errors are those of `task_gradients`.
    """
    problem = make_problem(encode, heads, shared, head_params, batch, key)
    order = list(heads)
    found = {}
    for place, (name, examples) in enumerate(problem.batch.items()):
        features = encoded(problem, name, shared, examples.inputs, group_key(problem, place))
        for task, targets in examples.targets.items():
            found[task] = head_loss(
                problem,
                name,
                task,
                head_params[task],
                *features,
                targets,
                task_key(problem, order.index(task)),
            )
    return jnp.stack([found[task] for task in order])
