"""Which leaves of an encoder's features are differentiated, and how they are put together."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class FeatureSpec(NamedTuple):
    """The structure of an encoder's features.

    Attributes:
      structure: the tree definition of the features.
      floating: for each leaf, whether it is differentiated: it is floating point or complex.
      batched: for each leaf, whether it has a batch axis.
      shapes: for each leaf, its shape and dtype.
    """

    structure: Any
    floating: tuple[bool, ...]
    batched: tuple[bool, ...]
    shapes: tuple[jax.ShapeDtypeStruct, ...]


def split_features(
    spec: FeatureSpec, features: Any
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """The leaves of the features that are differentiated, and the others; see `join_features`."""
    floating, others = [], []
    for leaf, is_floating in zip(jax.tree.leaves(features), spec.floating, strict=True):
        if not is_floating:
            others.append(leaf)
        elif jnp.iscomplexobj(leaf):
            floating += [jnp.real(leaf), jnp.imag(leaf)]
        else:
            floating.append(leaf)
    return tuple(floating), tuple(others)


def join_features(spec: FeatureSpec, floating: Any, others: Any) -> Any:
    """The tree of features, from the leaves that `encode_group` divides them into."""
    floating_leaves, other_leaves = iter(floating), iter(others)

    def next_leaf(is_floating: bool, shape: jax.ShapeDtypeStruct) -> Any:
        if not is_floating:
            return next(other_leaves)
        if jnp.issubdtype(shape.dtype, jnp.complexfloating):
            return jax.lax.complex(next(floating_leaves), next(floating_leaves))
        return next(floating_leaves)

    pairs = zip(spec.floating, spec.shapes, strict=True)
    return spec.structure.unflatten([next_leaf(*pair) for pair in pairs])
