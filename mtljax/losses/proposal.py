"""The distribution that sampled losses draw their negative classes from."""

import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

_UNITS = 2**32


class Proposal(NamedTuple):
    """A distribution over ``V`` classes, in units of 2^-32, so that probabilities are exact.

    Attributes:
      edges: uint32 ``[V - 1]``: class c is drawn by the 32-bit numbers from edge c - 1 up to, not
        including, edge c. The last class takes what remains.
      log_q: float32 ``[V]``: natural logs of the probabilities.
    """

    edges: jax.Array
    log_q: jax.Array


def _proposal(shares: np.ndarray) -> Proposal:
    # At least one unit for each class: a class that is never drawn would bias the loss.
    units = np.maximum(np.floor(shares / shares.sum() * _UNITS), 1.0)
    excess = int(units.sum()) - _UNITS
    units[np.argmax(units)] -= excess
    edges = np.cumsum(units.astype(np.int64))[:-1].astype(np.uint32)
    return Proposal(jnp.asarray(edges), jnp.asarray(np.log(units / _UNITS), jnp.float32))


def log_uniform_proposal(num_classes: int) -> Proposal:
    """Log-uniform (Zipfian) distribution, for classes in order of falling frequency.

    ``q_c = log((c + 2) / (c + 1)) / log(V + 1)``.

    Args:
      num_classes: V, at least 1.

    Returns:
      A `Proposal`, made on the host: build it once, outside the step.

    Raises:
      ValueError: fewer than one class.

    >>> jnp.exp(log_uniform_proposal(3).log_q[0])
    Array(0.5, dtype=float32)
    """
    if operator.index(num_classes) < 1:
        raise ValueError(f"num_classes must be 1 or more, got {num_classes}")
    ranks = np.arange(1, num_classes + 1, dtype=np.float64)
    return _proposal(np.log1p(1 / ranks))


def unigram_proposal(counts: ArrayLike, power: float = 0.75) -> Proposal:
    """Distribution proportional to ``max(count, 1) ** power``.

    Power 0.75 flattens the training frequencies (Mikolov et al., NIPS 2013); 0 is uniform.

    Args:
      counts: ``[V]`` occurrences of each class in the training data, concrete, non-negative.
        A class that was never seen counts as seen once, so that it can be drawn.
      power: finite, usually in [0, 1].

    Returns:
      A `Proposal`, made on the host: build it once, outside the step.

    Raises:
      ValueError: counts not a vector of finite, non-negative numbers, or power not finite.

    >>> jnp.exp(unigram_proposal([3, 1, 0], power=1.0).log_q).round(3)
    Array([0.6, 0.2, 0.2], dtype=float32)
    """
    numbers = np.asarray(counts, dtype=np.float64)
    if numbers.ndim != 1 or not numbers.size:
        raise ValueError(f"counts must be a vector of one class or more, got {numbers.shape}")
    if not (np.isfinite(numbers).all() and (numbers >= 0).all()):
        raise ValueError("counts must be finite and non-negative")
    if not np.isfinite(power):
        raise ValueError(f"power must be finite, got {power}")
    logs = power * np.log(np.maximum(numbers, 1.0))
    return _proposal(np.exp(logs - logs.max()))


def draw_negatives(
    key: jax.Array, proposal: Proposal, num_samples: int
) -> tuple[jax.Array, jax.Array]:
    """Draws classes with replacement, for `sampled_softmax`.

    Stratified: the unit interval is divided into `num_samples` parts, all shifted by one random
    offset, with one draw in each. Every draw has exactly the distribution `proposal`, and a class
    comes up ``num_samples * q`` times, plus or minus one or two, so that the estimated
    normalisation is much less noisy than with independent draws. Runs under jit in
    O(K log V).

    Args:
      key: a JAX PRNG key.
      proposal: the distribution of each draw.
      num_samples: K, at least 1.

    Returns:
      The classes int32 ``[K]`` and their log probabilities float32 ``[K]``.

    Raises:
      ValueError: fewer than one sample.
    """
    if operator.index(num_samples) < 1:
        raise ValueError(f"num_samples must be 1 or more, got {num_samples}")
    stride = _UNITS // num_samples
    bits = jax.random.bits(key, (num_samples + 1,), jnp.uint32)
    starts = jnp.arange(num_samples, dtype=jnp.uint32) * np.uint32(stride % _UNITS)
    jitter = bits[1:] % np.uint32(stride) if stride < _UNITS else jnp.zeros_like(bits[1:])
    # Unsigned sums wrap around, which keeps each of them uniform.
    points = bits[0] + starts + jitter
    classes = jnp.searchsorted(proposal.edges, points, side="right").astype(jnp.int32)
    return classes, proposal.log_q[classes]
