"""The train step as a building block: from losses, a method and an optimizer to a pure function.

`train_step` takes what is to be minimized (`from_losses`: plain functions of one parameter tree;
`from_encoder`: a shared encoder and a head a task), a weighting or an Optax aggregator, and an
Optax optimizer. It returns two pure functions, ``init(params)`` and ``update(state, batch)``, that
your own loop jits. A run of `mtljax.train` is made of the same functions. Imports JAX and Optax.
"""

from mtljax.step.extra import Extra as Extra
from mtljax.step.frozen import merge as merge
from mtljax.step.frozen import partition as partition
from mtljax.step.method import Method as Method
from mtljax.step.objectives import Objectives as Objectives
from mtljax.step.objectives import from_encoder as from_encoder
from mtljax.step.objectives import from_losses as from_losses
from mtljax.step.state import StepMetrics as StepMetrics
from mtljax.step.state import TrainState as TrainState
from mtljax.step.state import evaluated_params as evaluated_params
from mtljax.step.train_step import TrainStep as TrainStep
from mtljax.step.train_step import train_step as train_step
