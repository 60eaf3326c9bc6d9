"""Gradients at the encoder's output: one backward pass through the encoder, whatever T."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from mtljax.gradients.group_heads import group_head_gradients
from mtljax.gradients.problem import Encode, Examples, Head, encoded, group_key, make_problem


class RepresentationGradients(NamedTuple):
    """Losses and their gradients with respect to the features that the tasks share.

    Attributes:
      losses: ``[T]``.
      features: ``[T, *feature]``, the leaves of the features that are floating point.
      heads: by task, the gradient of its own loss with respect to its head.
      pull_back: from a gradient with respect to the features, such as
        ``combine(weights, features)``, to that of the shared parameters.
    """

    losses: jax.Array
    features: tuple[jax.Array, ...]
    heads: dict[str, Any]
    pull_back: Callable[[Any], Any]


def representation_gradients(
    encode: Encode,
    heads: Mapping[str, Head],
    shared: Any,
    head_params: Mapping[str, Any],
    batch: Mapping[str, Examples],
    *,
    key: jax.Array | None = None,
) -> RepresentationGradients:
    """The gradients of every task's loss with respect to the shared features.

    An approximation, from MGDA-UB (Sener and Koltun, NeurIPS 2018, arXiv 1810.04650): weights from
    the Gramian of these gradients are not those from the gradients of the parameters. Where a
    method's direction vanishes here it vanishes there; non-conflict with features does not promise
    non-conflict in parameters. The encoder is gone through once backwards, with the combined
    gradient, so that T tasks cost what their sum does. For one input group: features of different
    inputs have no common space.

    Arguments and errors are those of `task_gradients`; more than one input group is an error too.

    >>> import jax.numpy as jnp
    >>> from mtljax.gradients import combine, gramian
    >>> head = lambda params, features, targets: jnp.sum(features) * params
    >>> batch = {"both": Examples(jnp.ones((3, 2)), {"a": (), "b": ()})}
    >>> found = representation_gradients(
    ...     lambda shared, inputs: inputs * shared,
    ...     {"a": head, "b": head},
    ...     jnp.ones(2),
    ...     {"a": jnp.array(1.0), "b": jnp.array(-2.0)},
    ...     batch,
    ... )
    >>> gramian(found.features)
    Array([[  6., -12.],
           [-12.,  24.]], dtype=float32)
    >>> found.pull_back(combine(jnp.array([1.0, 0.25]), found.features))
    Array([1.5, 1.5], dtype=float32)
    """
    problem = make_problem(encode, heads, shared, head_params, batch, key)
    if len(problem.batch) != 1:
        named = {name: list(rows.targets) for name, rows in problem.batch.items()}
        raise ValueError(f"representation gradients want one input group, got {named}")
    ((name, examples),) = problem.batch.items()

    def features_of(shared):
        return encoded(problem, name, shared, examples.inputs, group_key(problem, 0))

    floating, pull_back, others = jax.vjp(features_of, shared, has_aux=True)
    losses, slopes, own = group_head_gradients(problem, name, floating, others)
    return RepresentationGradients(losses, slopes, own, lambda slope: pull_back(slope)[0])
