"""A figure of how tasks are related."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike


def draw_relation(relation: ArrayLike, names: Sequence[str]) -> Any:
    """A figure of a relation, such as `Related.correlation` or `Graph.edges`.

    Args:
      relation: ``[T, T]``; colours are those of its sign, as strong as its largest number.
      names: of the T tasks.

    Returns:
      A Matplotlib ``Figure``, for its ``savefig``; Matplotlib is the extra ``plot``.

    Raises:
      ValueError: a relation that is not ``[T, T]`` for as many names.
    """
    from matplotlib.figure import Figure

    relation, count = np.asarray(relation), len(names)
    if relation.shape != (count, count):
        raise ValueError(f"relation of {count} names must be [{count}, {count}], got shape "
                         f"{relation.shape}")  # fmt: skip
    side = 2 + 0.35 * count
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    limit = float(np.abs(relation).max(initial=0)) or 1.0
    image = axes.imshow(relation, cmap="RdBu", vmin=-limit, vmax=limit)
    axes.set_xticks(range(count), names, rotation=90)
    axes.set_yticks(range(count), names)
    figure.colorbar(image, ax=axes)
    return figure
