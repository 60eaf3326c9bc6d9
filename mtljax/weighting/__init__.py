"""Multi-objective methods as pure functions ``(losses, signals, state) -> weights``.

A method is a factory with keyword arguments that returns a `Weighting`. Scale: weights of
``scale='mean'`` sum to 1, those of ``scale='sum'`` to the number of tasks that are present.
"""

from mtljax.weighting.contract import SIGNALS as SIGNALS
from mtljax.weighting.contract import Weighting as Weighting
from mtljax.weighting.equal import equal as equal
from mtljax.weighting.fixed import fixed as fixed
from mtljax.weighting.guard import finite_rows as finite_rows
from mtljax.weighting.guard import guard as guard
from mtljax.weighting.random import random as random
from mtljax.weighting.uncertainty import uncertainty as uncertainty

METHODS = {
    "equal": equal,
    "fixed": fixed,
    "random": random,
    "uncertainty": uncertainty,
}
"""From the name on the command line to the factory."""
