"""Levels of shared and own experts (progressive layered extraction, PLE)."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtljax.sharing.mixtures import experts, mixture, softmax_gate

Experts = tuple[jax.Array, jax.Array, jax.Array, jax.Array]
"""``down``, ``down_bias``, ``up`` and ``up_bias`` as `mtljax.sharing.experts` takes them."""

Gate = tuple[jax.Array, jax.Array]
"""``kernel`` and ``bias`` as `mtljax.sharing.softmax_gate` takes them."""


class Level(NamedTuple):
    """A level below the last one, whose experts all tasks read in the level above.

    Attributes:
      shared: E experts.
      own: F experts of each of T tasks, ``[T, F, ...]``.
      gate: over the outputs of all, the shared ones first, then task by task: ``[D, E + T F]`` and
        ``[E + T F]``.
      gates: of each task over the shared ones and its own, ``[T, D, E + F]`` and ``[T, E + F]``;
        None in the highest of these levels, where `extraction` reads them.
    """

    shared: Experts
    own: Experts
    gate: Gate
    gates: Gate | None = None


class Extracted(NamedTuple):
    """What the levels below the last one have made of positions.

    Attributes:
      states: ``[..., T, D]``, what each task read in the highest of them; of one below the last
        all are the same, and T is 1.
      shared: ``[..., E, D]``, what its shared experts have added.
      own: ``[..., T, F, D]``, what its own experts have added.
      x: ``[..., D]``, what the shared experts of the last level read.
    """

    states: jax.Array
    shared: jax.Array
    own: jax.Array
    x: jax.Array


def extraction(x: jax.Array, outputs: jax.Array, gate: Gate) -> jax.Array:
    """What a gate extracts, added to what it reads: ``x + sum_e softmax(x K + b)_e y_e``.

    Tang et al. 2020, equations 1 to 3, where it stands in place of ``x``.

    Args:
      x: ``[..., D]``.
      outputs: ``[..., E, D]``.
      gate: ``[D, E]`` and ``[E]``.

    Returns:
      ``[..., D]``.
    """
    return x + mixture(outputs, softmax_gate(x, *gate))


def extract(x: jax.Array, levels: Sequence[Level]) -> Extracted:
    """The levels below the last one (Tang et al. 2020, equations 5 to 7, and figure 5).

    Shared experts read what the shared gate of the level below has extracted of all experts there;
    those of a task read what its gate has of the shared ones and its own. All outputs and
    extractions are added to what was read, as in `extraction`.

    Args:
      x: ``[..., D]``, floating point, what all experts of the first level read.
      levels: from the lowest on, one at least.
    """
    by_task = jax.vmap(experts, in_axes=(-2, 0, 0, 0, 0), out_axes=-3)
    gated = jax.vmap(extraction, in_axes=(-2, -3, 0), out_axes=-2)

    def outputs(level: Level, x: jax.Array, states: jax.Array) -> tuple[jax.Array, jax.Array]:
        tasks = level.own[0].shape[0]
        read = jnp.broadcast_to(states, (*states.shape[:-2], tasks, states.shape[-1]))
        return experts(x, *level.shared), by_task(read, *level.own)

    def of_all(level: Level, x: jax.Array, shared: jax.Array, own: jax.Array) -> jax.Array:
        flat = own.reshape(*x.shape[:-1], -1, x.shape[-1])
        return extraction(x, jnp.concatenate([shared, flat], axis=-2), level.gate)

    *below, last = levels
    states = x[..., None, :]
    for level in below:
        shared, own = outputs(level, x, states)
        seen = jnp.broadcast_to(shared[..., None, :, :], (*own.shape[:-2], *shared.shape[-2:]))
        read = jnp.broadcast_to(states, (*own.shape[:-2], x.shape[-1]))
        assert level.gates is not None
        states = gated(read, jnp.concatenate([seen, own], axis=-2), level.gates)
        x = of_all(level, x, shared, own)
    shared, own = outputs(last, x, states)
    return Extracted(states, shared, own, of_all(last, x, shared, own))
