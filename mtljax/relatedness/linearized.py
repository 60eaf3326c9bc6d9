"""Margins of examples at one model, and their gradients as a few numbers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.gradients import sketch


class Linearized(NamedTuple):
    """Examples of T tasks as a model near one point sees them, to first order.

    Attributes:
      margins: ``[N]``, what the loss of an example is a function of, at that point.
      gradients: ``[N, m]``, projections of the margins' gradients.
      task: ``[N]``, the task of each example, in [0, T).
    """

    margins: jax.Array
    gradients: jax.Array
    task: jax.Array


def class_margin(logits: ArrayLike, label: ArrayLike) -> jax.Array:
    r"""The log odds of the right class, :math:`\log p_y - \log(1 - p_y)`.

    The softmax cross-entropy is its logistic loss, ``softplus(-margin)``, whatever the number of
    classes.

    Args:
      logits: ``[..., C]`` of two classes or more, or ``[..., 1]`` of the second of two.
      label: ``[...]``, integers.

    Returns:
      ``[...]``.

    >>> jax.nn.softplus(-class_margin(jnp.array([2.0, 0.0, 1.0]), 0))  # its cross-entropy
    Array(0.407606, dtype=float32)
    """
    logits, label = jnp.asarray(logits), jnp.asarray(label)
    if logits.shape[-1] == 1:
        return jnp.where(label == 1, logits[..., 0], -logits[..., 0])
    right = jnp.arange(logits.shape[-1]) == label[..., None]
    of_right = jnp.sum(jnp.where(right, logits, 0), -1)
    return of_right - jax.nn.logsumexp(jnp.where(right, -jnp.inf, logits), axis=-1)


def linearize(
    margin: Callable[[Any, Any], jax.Array],
    params: Any,
    examples: Any,
    task: ArrayLike,
    *,
    size: int = 256,
    seed: int = 0,
    batch_size: int = 16,
) -> Linearized:
    """Reads the margins of examples and projects their gradients, once for all subsets of tasks.

    A gradient an example: about three forward passes over the examples, in batches of which each
    example has gradients of its own.

    Args:
      margin: ``(params, example) -> scalar``, such as `class_margin` of a model's logits, or the
        residual of a regression.
      params: where the model is linearized, such as the shared parameters of a model that was
        trained on all tasks; gradients are for these alone.
      examples: a tree of arrays ``[N, ...]``.
      task: ``[N]``, the task of each.
      size: an upper limit of m; see `mtljax.gradients.sketch`.
      seed: of the projection. Examples that are compared need the same.
      batch_size: examples at a time.

    Returns:
      `Linearized`.
    """

    def of_one(example: Any) -> tuple[jax.Array, jax.Array]:
        value, gradient = jax.value_and_grad(margin)(params, example)
        return value, sketch(jax.tree.map(lambda leaf: leaf[None], gradient), size, seed)[0]

    margins, gradients = jax.lax.map(of_one, examples, batch_size=batch_size)
    return Linearized(margins, gradients, jnp.asarray(task))
