"""Differentiable selection of few out of many experts (DSelect-k)."""

import jax
import jax.numpy as jnp


def smooth_step(z: jax.Array, width: float = 1.0) -> jax.Array:
    """A cubic step from 0 to 1 between ``-width / 2`` and ``width / 2``, flat beyond.

    Hazimeh et al. 2021, equation 5.

    >>> smooth_step(jnp.array([-0.5, 0.0, 0.25, 2.0]))
    Array([0.     , 0.5    , 0.84375, 1.     ], dtype=float32)
    """
    inside = 0.5 + 1.5 * z / width - 2 * (z / width) ** 3
    return jnp.where(z <= -width / 2, 0.0, jnp.where(z >= width / 2, 1.0, inside))


def selector(z: jax.Array, width: float = 1.0) -> jax.Array:
    """The distribution over ``2**m`` experts that ``m`` smooth bits give.

    Hazimeh et al. 2021, equation 6: expert ``e`` has the product of the bits of ``e``, each with
    probability `smooth_step`. Where all bits are 0 or 1, it chooses one expert.

    Args:
      z: ``[..., m]``.
      width: of the steps.

    Returns:
      ``[..., 2**m]``, which sums to 1.

    >>> selector(jnp.array([1.0, -1.0]))  # the bits of 1, the first is the lowest
    Array([0., 1., 0., 0.], dtype=float32)
    """
    bits = z.shape[-1]
    wanted = (jnp.arange(2**bits)[:, None] >> jnp.arange(bits)) & 1
    step = smooth_step(z, width)[..., None, :]
    return jnp.prod(jnp.where(wanted == 1, step, 1 - step), axis=-1)


def select(logits: jax.Array, z: jax.Array, width: float = 1.0) -> jax.Array:
    """The shares of experts, of which at most k have one once the selectors have chosen.

    Hazimeh et al. 2021, equation 8, the static gate: ``sum_i softmax(logits)_i selector(z_i)``.

    Args:
      logits: ``[k]``, of the selectors.
      z: ``[k, m]``, their bits.
      width: of the steps.

    Returns:
      ``[2**m]``, which sums to 1.
    """
    return jax.nn.softmax(logits) @ selector(z, width)


def selector_entropy(z: jax.Array, width: float = 1.0) -> jax.Array:
    """The entropies of selectors, summed: 0 where each has chosen one expert.

    Hazimeh et al. 2021, section 3.3: as a penalty it has them choose.

    Args:
      z: ``[..., m]``.
      width: of the steps.

    Returns:
      A scalar, in nats.
    """
    shares = selector(z, width)
    positive = shares > 0
    return -jnp.sum(jnp.where(positive, shares * jnp.log(jnp.where(positive, shares, 1)), 0))
