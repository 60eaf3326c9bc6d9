"""Use of a trained run: predict, generate and evaluate."""

from mtljax.inference.run import Run as Run
from mtljax.inference.run import load_run as load_run
