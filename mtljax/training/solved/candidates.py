"""The optimum under each of several penalties."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from mtljax import linear
from mtljax.errors import UserError
from mtljax.linear import Omega, SparseFeatures
from mtljax.presets import OptimizerConfig
from mtljax.training.solved.outputs import LinearOutput, constant_score, is_constant

_COUPLED = ("together", "relation")
"""The solvers whose penalty has two factors."""

TOLERANCE = 1e-4
"""How far above its minimum an objective may be, relative to it."""


class Candidate(NamedTuple):
    """One penalty, and the models of K outputs that are the optimum under it.

    Attributes:
      penalty: its factor.
      coupling: its other factor; None for penalties that have none.
      weights: ``[K, d]``.
      intercepts: ``[K]``.
      gap: how far above its minimum the objective is at most, relative to it; the largest of
        several problems.
      steps: of the solver, the most of several problems.
    """

    penalty: float
    coupling: float | None
    weights: np.ndarray
    intercepts: np.ndarray
    gap: float
    steps: int

    def about(self) -> dict[str, float]:
        """The penalty, as JSON."""
        coupled = {} if self.coupling is None else {"coupling": self.coupling}
        return {"penalty": self.penalty, **coupled}


def solve_all(
    settings: OptimizerConfig, outputs: Sequence[LinearOutput], say: Callable[[str], None]
) -> list[Candidate]:
    """The optimum under each penalty.

    Args:
      settings: the solver, its penalties and couplings.
      outputs: K of them.
      say: is called with a line about an output that has nothing to be learned.

    Raises:
      UserError: a penalty over tasks that have no loss or number of outputs in common.
    """
    solver, count = settings.solver, len(outputs)
    width = outputs[0].features.shape[1] if outputs else 0
    couplings = settings.couplings if solver in _COUPLED else (None,)
    penalties = sorted(settings.penalties, reverse=True)  # the strongest is solved fastest
    tried = [
        Candidate(p, c, np.zeros((count, width), np.float32), np.zeros(count), 0.0, 0)
        for c, p in itertools.product(couplings, penalties)
    ]
    solvable = []
    for i, output in enumerate(outputs):
        if is_constant(output):
            for candidate in tried:
                candidate.intercepts[i] = constant_score(output)
            say(f"{output.name}: has one answer in training, which it always gives")
        else:
            solvable.append(i)
    for members in _problems(solver, outputs, solvable):
        for place, c in enumerate(couplings):
            omegas = [_omega(solver, p, c, len(members)) for p in penalties]
            solutions = _fit_all([outputs[i] for i in members], omegas, settings.solver_steps)
            for k, solution in enumerate(solutions):
                at = place * len(penalties) + k
                candidate = tried[at]
                candidate.weights[members] = np.asarray(solution.weights)
                candidate.intercepts[members] = np.asarray(solution.intercept)
                relative = float(solution.gap) / max(float(solution.objective), 1e-30)
                tried[at] = candidate._replace(
                    gap=max(candidate.gap, relative),
                    steps=max(candidate.steps, int(solution.steps)),
                )
    return tried


def _problems(
    solver: str, outputs: Sequence[LinearOutput], solvable: list[int]
) -> Iterator[list[int]]:
    """Which outputs are solved for together.

    Raises:
      UserError: a penalty over tasks that have no loss or number of outputs in common.
    """
    if solver == "ridge":
        # Without a penalty over tasks each output is a problem of its own. Those with samples of
        # their own are solved in one go, which compiles once.
        singles: dict[str, list[int]] = {}
        for i in solvable:
            if sum(outputs[j].task is outputs[i].task for j in solvable) == 1:
                singles.setdefault(outputs[i].loss, []).append(i)
            else:
                yield [i]
        yield from singles.values()
        return
    for output in (outputs[i] for i in solvable):
        first, task = outputs[solvable[0]], output.task
        where = f"optimizer.solver {solver!r}"
        if output.loss != first.loss:
            raise UserError(
                f"{where}: tasks {first.task.name!r} and {task.name!r} have losses {first.loss!r} "
                f"and {output.loss!r}, and a penalty over both needs one"
            )
        if solver == "together" and output.name != task.name:
            raise UserError(
                f"{where}: task {task.name!r} has an output for each class, which are not alike; "
                "'relation' learns how they are"
            )
    if solvable:
        yield solvable


def _fit_all(
    outputs: Sequence[LinearOutput], omegas: Sequence[Omega], max_steps: int
) -> list[linear.Solution]:
    features = _stacked([output.features for output in outputs])
    task = np.repeat(np.arange(len(outputs)), [output.features.shape[0] for output in outputs])
    targets, alpha = (
        np.concatenate([np.asarray(getattr(output, name), np.float32) for output in outputs])
        for name in ("targets", "alpha")
    )
    return linear.fit_path(
        features,
        targets,
        task,
        omegas,
        num_tasks=len(outputs),
        loss=outputs[0].loss,
        alpha=alpha,
        tolerance=TOLERANCE / 5,
        max_steps=max_steps,
    )


def _stacked(features: Sequence[SparseFeatures]) -> SparseFeatures:
    """Features of one set of samples after those of another."""
    starts = np.cumsum([0, *(part.shape[0] for part in features)])
    rows = [part.rows + start for part, start in zip(features, starts, strict=False)]
    return SparseFeatures(
        np.concatenate(rows).astype(np.int32),
        np.concatenate([part.columns for part in features]),
        np.concatenate([part.values for part in features]),
        (int(starts[-1]), features[0].shape[1]),
    )


def _omega(solver: str, penalty: float, coupling: float | None, count: int) -> Omega:
    """The penalty of `count` models."""
    match solver:
        case "ridge":
            return linear.l2(penalty)
        case "together":
            assert coupling is not None
            return linear.mean_regularized(penalty * coupling, penalty, count)
        case "relation":
            assert coupling is not None
            return Omega(ridge=penalty / coupling, strength=penalty, norm="squared_trace")
        case "groups":
            return linear.task_groups(penalty)
        case _:
            return linear.trace_norm(penalty)


def correlation(candidate: Candidate) -> list[list[float]]:
    """The correlations of the tasks that were learned with their models."""
    covariance = linear.best_covariance(jnp.asarray(candidate.weights))
    return np.round(np.asarray(linear.correlations(covariance), np.float64), 6).tolist()
