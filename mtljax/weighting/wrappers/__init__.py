"""Weightings made of weightings.

Each function takes a `Weighting` and returns one, whose answers to absent tasks and to numbers that
are not finite are those of all methods. They compose in this order, the innermost first:

- `normalize`: the method sees gradients of one size;
- `scale`: the weights sum to 1, or to the number of tasks; or `rescale`: the direction has a given
  length;
- `moving_average` (also named `cr_mogm`): weights averaged over steps;
- `every`: new weights in every k-th step; `needs_gradients` says whether the next step is one.

>>> from mtljax import weighting
>>> method = every(moving_average(weighting.equal(), alpha=0.5), k=4)
"""

from mtljax.weighting.wrappers.every import every as every
from mtljax.weighting.wrappers.every import needs_gradients as needs_gradients
from mtljax.weighting.wrappers.moving_average import cr_mogm as cr_mogm
from mtljax.weighting.wrappers.moving_average import moving_average as moving_average
from mtljax.weighting.wrappers.normalize import normalize as normalize
from mtljax.weighting.wrappers.rescale import rescale as rescale
from mtljax.weighting.wrappers.scale import scale as scale
