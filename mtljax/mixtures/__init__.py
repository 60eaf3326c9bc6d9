"""Mixtures learned online: from a run's signals to the rates at which its groups of data are read.

A schedule is a factory with keyword arguments that returns a `Schedule`: pure functions ``init``
and ``update(signals, state) -> (rates, state)``, and the names of the `SIGNALS` that it requires.
Rates are on the simplex, each at least ``floor / K`` of K groups, so that none is ever lost. NumPy
in gives NumPy out, and what JAX traces is JAX: a schedule serves a loop on the host and a jitted
step alike.

By what they read:

- losses: `doremi`, against those of a reference;
- norms of the groups' gradients and how noisy they are: `pike`, `balanced_pike`;
- inner products of gradients: `doge`, with those of validation batches too; `elimination`;
- losses on validation: `exp3`.

`SCHEDULES` has them by name. `drawn_rates` and `propose_rates` choose fixed rates instead, by a
regression on small runs.
"""

from mtljax.mixtures.contract import SIGNALS as SIGNALS
from mtljax.mixtures.contract import Schedule as Schedule
from mtljax.mixtures.contract import ScheduleState as ScheduleState
from mtljax.mixtures.doge import doge as doge
from mtljax.mixtures.doremi import doremi as doremi
from mtljax.mixtures.elimination import elimination as elimination
from mtljax.mixtures.exp3 import exp3 as exp3
from mtljax.mixtures.guard import guard as guard
from mtljax.mixtures.pike import balanced_pike as balanced_pike
from mtljax.mixtures.pike import pike as pike
from mtljax.mixtures.rates import floored as floored
from mtljax.mixtures.rates import tilted as tilted
from mtljax.mixtures.regression import Proposal as Proposal
from mtljax.mixtures.regression import drawn_rates as drawn_rates
from mtljax.mixtures.regression import propose_rates as propose_rates

SCHEDULES = {
    "balanced_pike": balanced_pike,
    "doge": doge,
    "doremi": doremi,
    "elimination": elimination,
    "exp3": exp3,
    "pike": pike,
}
"""The schedules by name."""
