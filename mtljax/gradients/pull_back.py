"""The ways back through an encoder that the tasks of an input group take."""

from collections.abc import Callable
from typing import Any

import jax


def pulled_back(pull_back: Callable[[Any], tuple[Any]], slopes: Any) -> Any:
    """The gradient of each task, of what the tasks say of the features that they share.

    Args:
      pull_back: of `jax.vjp`, in the shared parameters alone.
      slopes: gradients of the features, ``[n, *feature]``.

    Returns:
      Gradients of the shared parameters, ``[n, *param]``.
    """
    if jax.tree.leaves(slopes)[0].shape[0] == 1:
        (row,) = pull_back(jax.tree.map(lambda leaf: leaf[0], slopes))
        return jax.tree.map(lambda leaf: leaf[None], row)
    return jax.lax.platform_dependent(
        slopes,
        # What one task needs stays in the cache, and each gradient is written in its place: batched
        # ones come transposed, and every reader on a CPU would have them copied.
        cpu=lambda slopes: jax.lax.map(lambda slope: pull_back(slope)[0], slopes),
        default=lambda slopes: jax.vmap(pull_back)(slopes)[0],
    )
