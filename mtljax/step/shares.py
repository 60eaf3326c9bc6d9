"""Losses whose gradients reach the shared parameters times a share of each task."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients import Examples, OwnParams
from mtljax.gradients.draws_by_row import DrawsByRow
from mtljax.gradients.problem import Encode, Head


def scale_cotangent(tree: Any, share: jax.Array) -> Any:
    """The identity; gradients of floating point and complex leaves are multiplied by `share`."""

    def scaled(leaf: Any) -> Any:
        floating = jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
        return _scaled_cotangent(leaf, share) if floating else leaf

    return jax.tree.map(scaled, tree)


# Its tangents say what its cotangents are: that is batched where only the shares are.
@jax.custom_jvp
def _scaled_cotangent(leaf: jax.Array, share: jax.Array) -> jax.Array:
    del share
    return leaf


@_scaled_cotangent.defjvp
def _scaled_tangent(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (leaf, share), (tangent, _) = primals, tangents
    return leaf, tangent * share.astype(tangent.dtype)


def heads_with_shares(
    heads: Mapping[str, Head], by_group: Mapping[str, Examples], shares: jax.Array
) -> tuple[dict[str, Head], dict[str, Examples]]:
    """Heads whose cotangents of the features are multiplied by a share, one of their targets.

    Heads that are one function stay one, so that they can be traced once.

    Args:
      heads: by task, its head.
      by_group: by input group, its `Examples`.
      shares: ``[T]``, in the order of the heads.

    Returns:
      Such heads, and the examples that they read.
    """

    def with_share(head: Head) -> Head:
        def run(params: Any, features: Any, targets: Any, *rest: Any) -> Any:
            share, targets = targets
            return head(params, scale_cotangent(features, share), targets, *rest)

        return run

    distinct = {id(head): with_share(head) for head in heads.values()}
    share_of = dict(zip(heads, shares, strict=True))
    with_targets = {
        name: Examples(inputs, {task: (share_of[task], own) for task, own in targets.items()})
        for name, (inputs, targets) in by_group.items()
    }
    return {name: distinct[id(head)] for name, head in heads.items()}, with_targets


def encoders_with_shares(
    encode: Encode | Mapping[str, Encode], own: Mapping[str, OwnParams], shares: jax.Array
) -> tuple[Encode | dict[str, Encode], dict[str, OwnParams]]:
    """Encoders whose shared parameters take a share of the gradient, and private ones all of it.

    The cotangent of the features is not scaled: it reaches the private parameters too, which take
    what the head takes. Encoders that are one function stay one.

    Args:
      encode: ``(shared, private, inputs[, key]) -> features``, or one by input group.
      own: by task, its own parameters.
      shares: ``[T]``, in the order of `own`.

    Returns:
      Such encoders, and the parameters that they read.
    """

    def with_share(encode: Encode) -> Encode:
        def run(shared: Any, private: Any, *rest: Any) -> Any:
            share, private = private
            # Along an axis of tasks each has its copy: cotangents are scaled, then summed.
            shared = jax.tree.map(lambda leaf: jnp.where(share == share, leaf, leaf), shared)
            return encode(scale_cotangent(shared, share), private, *rest)

        return DrawsByRow(run) if isinstance(encode, DrawsByRow) else run

    with_own = {
        task: each._replace(private=(share, each.private))
        for (task, each), share in zip(own.items(), shares, strict=True)
    }
    if not isinstance(encode, Mapping):
        return with_share(encode), with_own
    distinct = {id(one): with_share(one) for one in encode.values()}
    return {group: distinct[id(one)] for group, one in encode.items()}, with_own
