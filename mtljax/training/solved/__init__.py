"""Runs whose parameters are solved for, as the optimum of a convex problem."""

from mtljax.training.solved.run import solve_run as solve_run
