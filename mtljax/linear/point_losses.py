"""Losses of one score each, with what a duality gap takes: their slopes and convex conjugates."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class PointLoss(NamedTuple):
    """A convex loss of a score ``z`` with target ``y``, all element by element.

    Attributes:
      value: ``(z, y) -> l(z)``.
      slope: ``(z, y) -> l'(z)``, a subgradient.
      conjugate: ``(u, y) -> sup_z u z - l(z)``, for slopes `u` that the loss has.
    """

    value: Callable[[jax.Array, jax.Array], jax.Array]
    slope: Callable[[jax.Array, jax.Array], jax.Array]
    conjugate: Callable[[jax.Array, jax.Array], jax.Array]


def _sign(targets: jax.Array) -> jax.Array:
    return 2 * targets - 1


def _entropy(share: jax.Array) -> jax.Array:
    return jax.scipy.special.xlogy(share, share)


def _logistic_conjugate(slope: jax.Array, targets: jax.Array) -> jax.Array:
    share = jnp.clip(-slope * _sign(targets), 0, 1)
    return _entropy(share) + _entropy(1 - share)


def _hinge_conjugate(slope: jax.Array, targets: jax.Array) -> jax.Array:
    return slope * _sign(targets)


def _squared_hinge_conjugate(slope: jax.Array, targets: jax.Array) -> jax.Array:
    return slope * _sign(targets) + slope**2 / 4


LOSSES = {
    "logistic": PointLoss(
        lambda z, y: jax.nn.softplus(-_sign(y) * z),
        lambda z, y: -_sign(y) * jax.nn.sigmoid(-_sign(y) * z),
        _logistic_conjugate,
    ),
    "hinge": PointLoss(
        lambda z, y: jax.nn.relu(1 - _sign(y) * z),
        lambda z, y: jnp.where(_sign(y) * z < 1, -_sign(y), 0).astype(z.dtype),
        _hinge_conjugate,
    ),
    "squared_hinge": PointLoss(
        lambda z, y: jax.nn.relu(1 - _sign(y) * z) ** 2,
        lambda z, y: -2 * _sign(y) * jax.nn.relu(1 - _sign(y) * z),
        _squared_hinge_conjugate,
    ),
    "squared": PointLoss(
        lambda z, y: (z - y) ** 2,
        lambda z, y: 2 * (z - y),
        lambda u, y: u * y + u**2 / 4,
    ),
}
"""The losses of linear models by name: those of `mtljax.losses`, and the squared hinge. Targets are
0 and 1, those of ``squared`` any numbers."""


def anchored_hinge(anchor: jax.Array, width: jax.Array) -> PointLoss:
    """The hinge with its corner rounded, so that it is exact where its own slope is `anchor`.

    ``max over p in [0, 1] of p (1 - s z) - width / 2 (p - anchor)^2``: a step of the proximal point
    method on the dual (Rockafellar, "Augmented Lagrangians and applications of the proximal point
    algorithm in convex programming", 1976).

    Args:
      anchor: ``[n]`` in [0, 1], the multipliers of the step before.
      width: of the rounding, above 0.

    Returns:
      The loss.
    """

    def share(z: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.clip(anchor + (1 - _sign(y) * z) / width, 0, 1)

    def value(z: jax.Array, y: jax.Array) -> jax.Array:
        p = share(z, y)
        return p * (1 - _sign(y) * z) - width / 2 * (p - anchor) ** 2

    def conjugate(u: jax.Array, y: jax.Array) -> jax.Array:
        p = -_sign(y) * u
        return width / 2 * (p - anchor) ** 2 - p

    return PointLoss(value, lambda z, y: -_sign(y) * share(z, y), conjugate)
