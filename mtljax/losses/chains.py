"""Tags of packed texts as chains: which positions follow one another, and scores between them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.losses.checks import as_classes, as_float, check_shape


class Transitions(NamedTuple):
    """Scores of neighbouring tags; minus infinity forbids.

    Attributes:
      between: ``[K, K]``, of the second tag after the first.
      start: ``[K]``, of a text's first tag.
      end: ``[K]``, of its last.
    """

    between: jax.Array
    start: jax.Array
    end: jax.Array


class Chains(NamedTuple):
    """Packed chains of positions, all in rows ``[R, S]``.

    Attributes:
      scores: ``[R, S, K]``.
      inside: bool ``[R, S]``, which positions are in a chain at all.
      first: bool ``[R, S]``, which begin one.
      last: bool ``[R, S]``, which end one.
      previous: int32 ``[R, S]``, the position before each in its chain; 0 where there is none.
      steps: ``[K + 1, K]``, scores of steps from one tag to the next; from K, of a first tag.
      end: ``[K]``, scores of last tags.
      shape: of the positions as they were given, ``[..., S]``.
    """

    scores: jax.Array
    inside: jax.Array
    first: jax.Array
    last: jax.Array
    previous: jax.Array
    steps: jax.Array
    end: jax.Array
    shape: tuple[int, ...]


def chains(scores: ArrayLike, texts: ArrayLike, transitions: Transitions) -> Chains:
    """Find the chains of packed rows.

    Raises:
      TypeError: scores or transitions not floating point, or texts not integer.
      ValueError: shapes do not fit.
    """
    scores, texts = as_float("scores", scores), as_classes("texts", texts)
    if scores.ndim < 2 or scores.shape[-1] < 1:
        raise ValueError(f"scores must end in positions and tags, got shape {scores.shape}")
    shape, tags = scores.shape[:-1], scores.shape[-1]
    check_shape("texts", texts, shape, "that of scores without tags")
    named = {name: as_float(name, part) for name, part in transitions._asdict().items()}
    for name, part in named.items():
        check_shape(name, part, (tags, tags) if name == "between" else (tags,), "tags of scores")
    dtype = jnp.result_type(scores, *named.values())
    rows = texts.reshape(-1, shape[-1])
    inside = rows > 0
    before, after = _neighbour(inside), _neighbour(inside[:, ::-1])[:, ::-1]
    after = jnp.where(after < 0, -1, shape[-1] - 1 - after)
    same = [
        (at >= 0) & (jnp.take_along_axis(rows, jnp.maximum(at, 0), axis=1) == rows)
        for at in (before, after)
    ]
    steps = jnp.concatenate([named["between"], named["start"][None]])
    return Chains(
        scores=scores.reshape(*rows.shape, tags).astype(dtype),
        inside=inside,
        first=inside & ~same[0],
        last=inside & ~same[1],
        previous=jnp.where(same[0], before, 0),
        steps=steps.astype(dtype),
        end=named["end"].astype(dtype),
        shape=shape,
    )


def _neighbour(inside: jax.Array) -> jax.Array:
    """The position of the nearest one before each that is inside; -1 where there is none."""
    at = jnp.where(inside, jnp.arange(inside.shape[1]), -1)
    nearest = jax.lax.cummax(at, axis=1)
    return jnp.pad(nearest[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
