"""Gradients at the encoder's output: one backward pass through the encoder for all tasks."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from mtljax.gradients.differentiable import check_differentiable
from mtljax.gradients.group_heads import group_head_gradients
from mtljax.gradients.own_params import refuse_private
from mtljax.gradients.problem import (
    Aux,
    Encode,
    Examples,
    Head,
    encode_group,
    group_key,
    make_problem,
)


class RepresentationGradients(NamedTuple):
    """Losses and their gradients with respect to the features that the tasks share.

    Attributes:
      losses: ``[T]``, float32 or wider.
      features: gradients ``[T, *feature]`` for each floating point leaf of the features; for a
        complex one those with respect to its real and its imaginary part.
      heads: by task, the gradient of its own loss with respect to its head.
      pull_back: the VJP of the encoder, from a cotangent of the features, such as
        ``combine(weights, features)``, to the gradient of the shared parameters, ``[*param]``.
      aux: with `has_aux`, what encoders and heads returned besides; else None.
    """

    losses: jax.Array
    features: tuple[jax.Array, ...]
    heads: dict[str, Any]
    pull_back: Callable[[Any], Any]
    aux: Aux | None = None


def representation_gradients(
    encode: Encode,
    heads: Mapping[str, Head],
    shared: Any,
    head_params: Mapping[str, Any],
    batch: Mapping[str, Examples],
    *,
    key: jax.Array | None = None,
    has_aux: bool = False,
) -> RepresentationGradients:
    """The gradients of every task's loss with respect to the shared features.

    An approximation, MGDA-UB (Sener and Koltun, "Multi-Task Learning as Multi-Objective
    Optimization", NeurIPS 2018, arXiv 1810.04650, section 3.3): weights from the Gramian of these
    gradients are not those from the gradients of the parameters. Where a method's direction is zero
    in the features it is zero in the parameters; a direction without conflict in the features can
    have conflicts in the parameters. The encoder has one backward pass, of the combined gradient,
    so that T tasks cost what their sum does. There must be one input group: features of different
    inputs have no common space.

    Args:
      encode: ``(shared, inputs) -> features``: see `task_gradients`.
      heads: by task, ``(params, features, targets) -> loss``, a scalar.
      shared: the parameters of the encoder, a tree of arrays.
      head_params: by task, the parameters of its head.
      batch: the `Examples` of one input group, by its name.
      key: the random key of the step; if given, the encoder and heads take a key as last argument.
      has_aux: whether the encoder returns ``(features, aux)`` and heads ``(loss, aux)``.

    Returns:
      `RepresentationGradients`.

    Raises:
      TypeError: as `task_gradients`.
      ValueError: as `task_gradients`; more than one input group.

    >>> import jax.numpy as jnp
    >>> from mtljax.gradients import combine, gramian
    >>> head = lambda params, features, targets: jnp.sum(features) * params
    >>> batch = {"both": Examples(jnp.ones((3, 2)), {"a": (), "b": ()})}
    >>> gradients = representation_gradients(
    ...     lambda shared, inputs: inputs * shared,
    ...     {"a": head, "b": head},
    ...     jnp.ones(2),
    ...     {"a": jnp.array(1.0), "b": jnp.array(-2.0)},
    ...     batch,
    ... )
    >>> gramian(gradients.features)
    Array([[  6., -12.],
           [-12.,  24.]], dtype=float32)
    >>> gradients.pull_back(combine(jnp.array([1.0, 0.25]), gradients.features))
    Array([1.5, 1.5], dtype=float32)
    """
    problem = make_problem(encode, heads, shared, head_params, batch, key, has_aux)
    check_differentiable(problem)
    refuse_private(problem.head_params, "representation gradients")
    if len(problem.batch) != 1:
        named = {name: list(examples.targets) for name, examples in problem.batch.items()}
        raise ValueError(f"representation gradients want one input group, got {named}")
    ((name, examples),) = problem.batch.items()

    def features_of(shared):
        return encode_group(problem, name, shared, examples.inputs, group_key(problem, 0))

    floating, vjp, encoded = jax.vjp(features_of, shared, has_aux=True)
    losses, cotangents, head_grads, aux = group_head_gradients(
        problem, name, floating, encoded.others
    )
    return RepresentationGradients(
        losses,
        cotangents,
        head_grads,
        lambda cotangent: vjp(cotangent)[0],
        Aux({name: encoded.aux}, aux) if has_aux else None,
    )
