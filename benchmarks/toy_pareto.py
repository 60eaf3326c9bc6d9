"""Which methods reach the Pareto front of the toy problems that the papers draw?

Four problems, every method, from the papers' starting points, with Adam as there:

- `valley`: two tasks, two parameters, a valley with a rough region above it, from CAGrad (Liu et
  al., NeurIPS 2021), with the three starts, c and number of steps of its published code;
- `valley_scaled`: the same with the first loss ten times smaller, as in Nash-MTL (Navon et al.,
  ICML 2022) and FAMO (Liu et al., NeurIPS 2023), from the five starts of their published code;
- `fonseca`: Fonseca and Fleming's two objectives, the example of multiple-gradient descent;
- `bowls`: three quadratics of unlike curvature and scale.

    python benchmarks/toy_pareto.py --json benchmarks/results/toy_pareto.json --figures DIR
"""

import argparse
import functools
import inspect
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

from mtljax import aggregation, weighting
from mtljax.versions import versions

BASELINE = "equal"


class Problem(NamedTuple):
    """Losses ``[T]`` of two parameters, where to start, how long, and what counts as arrived."""

    losses: Callable[[jax.Array], jax.Array]
    starts: tuple[tuple[float, float], ...]
    steps: int
    lr: float
    front: np.ndarray  # points of the Pareto set [N, 2]
    near: float
    view: tuple[tuple[float, float], tuple[float, float]]


def valley(theta: jax.Array, scale: float = 1.0) -> jax.Array:
    """The two losses of CAGrad's toy problem, the first one times `scale`.

    Both are raised by 21, for the methods that want losses above 0; no gradient changes. FAMO's
    code subtracts -21 as the least possible loss, which is the same. The sign of tanh in the second
    loss is that of the published code of all three papers, which made their figures.
    """
    x, y = theta
    upper, lower = jnp.maximum(jnp.tanh(0.5 * y), 0), jnp.maximum(jnp.tanh(-0.5 * y), 0)
    rough_1 = jnp.log(jnp.maximum(jnp.abs(0.5 * (-x - 7) - jnp.tanh(-y)), 5e-6)) + 6
    rough_2 = jnp.log(jnp.maximum(jnp.abs(0.5 * (-x + 3) + jnp.tanh(-y) + 2), 5e-6)) + 6
    bowl_1 = ((-x + 7) ** 2 + 0.1 * (-y - 8) ** 2) / 10 - 20
    bowl_2 = ((-x - 7) ** 2 + 0.1 * (-y - 8) ** 2) / 10 - 20
    first = upper * rough_1 + lower * bowl_1
    second = upper * rough_2 + lower * bowl_2
    return jnp.stack([scale * (first + 21), second + 21])


def fonseca(theta: jax.Array) -> jax.Array:
    """Two objectives with a concave front."""
    shift = 1 / jnp.sqrt(2.0)
    away = jnp.stack([jnp.sum((theta - shift) ** 2), jnp.sum((theta + shift) ** 2)])
    return 1 - jnp.exp(-away)


CENTRES = np.array([[0.0, 2.0], [-2.0, -1.0], [2.0, -1.0]])
CURVATURES = np.array([[1.0, 1.0], [0.1, 0.1], [10.0, 10.0]])


def bowls(theta: jax.Array) -> jax.Array:
    """Three quadratics; the Pareto set is the triangle of their centres."""
    return jnp.sum(jnp.asarray(CURVATURES) * (theta - jnp.asarray(CENTRES)) ** 2, -1)


def valley_front() -> np.ndarray:
    """Minima of the weighted sums, by Newton's method from the line between the bowls."""

    def minimum(share: jax.Array) -> jax.Array:
        def objective(theta):
            first, second = valley(theta)
            return share * first + (1 - share) * second

        def newton(theta, _):
            step = jnp.linalg.solve(jax.hessian(objective)(theta), jax.grad(objective)(theta))
            return theta - step, None

        start = jnp.stack([14 * share - 7, jnp.asarray(-8.0)])
        return jax.lax.scan(newton, start, length=20)[0]

    return np.asarray(jax.vmap(minimum)(jnp.linspace(0, 1, 1001)))


def triangle() -> np.ndarray:
    """A grid over the triangle of the centres."""
    a, b = np.meshgrid(np.linspace(0, 1, 201), np.linspace(0, 1, 201))
    inside = a + b <= 1
    shares = np.stack([a[inside], b[inside], 1 - a[inside] - b[inside]], -1)
    return shares @ CENTRES


def problems() -> dict[str, Problem]:
    """The problems by name."""
    diagonal = np.linspace(-1, 1, 1001)[:, None] / np.sqrt(2) * np.ones(2)
    return {
        "valley": Problem(
            valley,
            ((-8.5, 7.5), (-8.5, -5.0), (9.0, 9.0)),
            100_000,
            1e-3,
            valley_front(),
            0.1,
            ((-11, 11), (-11, 11)),
        ),
        "valley_scaled": Problem(
            functools.partial(valley, scale=0.1),
            ((-8.5, 7.5), (0.0, 0.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0)),
            50_000,
            1e-3,
            valley_front(),
            0.1,
            ((-11, 11), (-11, 11)),
        ),
        "fonseca": Problem(
            fonseca,
            ((-1.5, 1.0), (1.2, -0.4), (0.2, 1.4), (-0.5, -1.4), (1.0, 1.0)),
            10_000,
            1e-3,
            diagonal,
            0.02,
            ((-2, 2), (-2, 2)),
        ),
        "bowls": Problem(
            bowls,
            ((-3.0, 3.0), (3.0, 3.0), (0.0, -3.0), (0.0, 0.0), (3.5, 0.0)),
            10_000,
            1e-3,
            triangle(),
            0.02,
            ((-4, 4), (-4, 4)),
        ),
    }


def methods(num_tasks: int) -> dict[str, Any]:
    """Every method with its defaults; those that cannot have so few tasks are left out."""
    made: dict[str, Any] = {}
    for name, factory in weighting.METHODS.items():
        needed = [
            p.name
            for p in inspect.signature(factory).parameters.values()
            if p.default is inspect.Parameter.empty
        ]
        arguments = {p: [1.0] * num_tasks for p in needed}
        try:
            made[name] = factory(**arguments)
            made[name].init(num_tasks)
        except ValueError:
            made.pop(name, None)
    for name, factory in aggregation.METHODS.items():
        try:
            label = f"{name} (memory)" if name in made else name
            made[label] = factory(num_tasks)
        except ValueError:
            continue
    # As in the authors' toy runs, whose losses do not change from step to step.
    made["famo (gamma=0)"] = weighting.famo(gamma=0.0)
    return made


def descend(problem: Problem, method: Any, num_tasks: int) -> tuple[np.ndarray, float]:
    """Paths ``[starts, steps / 100 + 1, 2]`` and microseconds a step."""
    optimizer = optax.adam(problem.lr)
    is_weighting = isinstance(method, weighting.Weighting)

    def step(carry, _):
        theta, rule, moments, after = carry
        losses, grads = problem.losses(theta), jax.jacrev(problem.losses)(theta)
        if is_weighting:
            gramian = grads @ grads.T
            # Deterministic losses: the other batches of stochastic methods are the same one.
            known = {
                "gramian": gramian,
                "gramian_diagonal": jnp.diagonal(gramian),
                "losses_after": after,
                "validation_losses": losses,
                "validation_gradients": gramian,
                "cross_gramian": gramian,
            }
            signals = {name: known[name] for name in method.requires - {"losses"}}
            weights, rule = method.update(losses, rule, **signals)
            direction = weights @ grads
        else:
            # What forum reads besides; the others ignore it.
            more = {"validation_grads": grads, "inner_losses": inner_losses(theta, rule)}
            direction, rule = method.update(grads, rule, theta, losses=losses, **more)
        updates, moments = optimizer.update(direction, moments, theta)
        theta = theta + updates
        return (theta, rule, moments, problem.losses(theta)), None

    def inner_losses(theta, rule):
        weights = getattr(rule, "weights", jnp.full(num_tasks, 1 / num_tasks))
        slope = jax.grad(lambda theta: weights @ problem.losses(theta))
        last = jax.lax.fori_loop(0, 5, lambda _, theta: theta - problem.lr * slope(theta), theta)
        return problem.losses(last)

    def path(start):
        rule = method.init(num_tasks) if is_weighting else method.init(start)
        carry = (start, rule, optimizer.init(start), problem.losses(start))

        def hundred(carry, _):
            carry, _ = jax.lax.scan(step, carry, length=100)
            return carry, carry[0]

        _, points = jax.lax.scan(hundred, carry, length=problem.steps // 100)
        return jnp.concatenate([start[None], points])

    run = jax.jit(jax.vmap(path)).lower(jnp.asarray(problem.starts)).compile()
    began = time.perf_counter()
    points = np.asarray(run(jnp.asarray(problem.starts)))
    return points, (time.perf_counter() - began) / problem.steps * 1e6


def arrived(problem: Problem, ends: np.ndarray) -> np.ndarray:
    """Distances ``[starts]`` of the last points to the Pareto set."""
    gaps = np.linalg.norm(ends[:, None] - problem.front, axis=-1)
    return np.where(np.isfinite(ends).all(-1), gaps.min(1), np.inf)


def draw(name: str, found: dict[str, np.ndarray], shown: dict[str, Problem], place: Path) -> None:
    """One picture of a method: its paths over the sum of the losses of every problem."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(shown), figsize=(3.4 * len(shown), 3.4))
    for axis, (title, problem) in zip(np.atleast_1d(axes), shown.items(), strict=True):
        (left, right), (low, high) = problem.view
        grid = np.meshgrid(np.linspace(left, right, 120), np.linspace(low, high, 120))
        flat = jnp.asarray(np.stack([g.ravel() for g in grid], -1))
        heights = np.asarray(jax.vmap(problem.losses)(flat)).sum(-1).reshape(grid[0].shape)
        axis.contour(*grid, heights, levels=16, colors="0.8", linewidths=0.6)
        axis.plot(*problem.front.T, ".", color="0.55", markersize=1.5)
        if title in found:
            for points, gap in zip(
                found[title], arrived(problem, found[title][:, -1]), strict=True
            ):
                colour = "tab:blue" if gap < problem.near else "tab:red"
                axis.plot(*points.T, color=colour, linewidth=1.2)
                axis.plot(*points[0], "o", color="black", markersize=3)
                axis.plot(*points[-1], "*", color=colour, markersize=8)
        axis.set(title=title, xlim=(left, right), ylim=(low, high))
        axis.tick_params(labelsize=7)
    figure.suptitle(f"{name}: blue ends on the Pareto set (grey), red does not", fontsize=9)
    figure.tight_layout()
    figure.savefig(place, dpi=72)
    plt.close(figure)


def main() -> None:
    """Measure, print the table, draw, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--figures", type=Path)
    parser.add_argument("--methods", nargs="+", help="only these")
    arguments = parser.parse_args()
    console = Console()
    shown = problems()
    rows, paths = [], {}
    for title, problem in shown.items():
        num_tasks = len(problem.losses(jnp.zeros(2)))
        baseline = None
        for name, method in methods(num_tasks).items():
            if arguments.methods and name not in {*arguments.methods, BASELINE}:
                continue
            points, cost = descend(problem, method, num_tasks)
            gaps = arrived(problem, points[:, -1])
            share = float((gaps < problem.near).mean())
            baseline = share if name == BASELINE else baseline
            ends = np.asarray(jax.vmap(problem.losses)(jnp.asarray(points[:, -1])))
            paths.setdefault(name, {})[title] = points
            rows.append(
                {
                    "problem": title,
                    "method": name,
                    "reached": int((gaps < problem.near).sum()),
                    "starts": len(gaps),
                    "distances": [round(float(gap), 4) for gap in gaps],
                    "last_losses": np.round(ends, 4).tolist(),
                    "baseline": BASELINE,
                    "ratio": share / baseline if baseline else None,
                    "microseconds_per_step": round(cost, 2),
                }
            )
            console.print(f"{title} {name}: {rows[-1]['reached']} of {len(gaps)}", highlight=False)
    table = Table(title="starts that end on the Pareto set")
    table.add_column("method")
    for title in shown:
        table.add_column(title, justify="right")
    for name in paths:
        cells = [
            next(
                (
                    f"{r['reached']}/{r['starts']}"
                    for r in rows
                    if r["problem"] == title and r["method"] == name
                ),
                "",
            )
            for title in shown
        ]
        table.add_row(name, *cells)
        if arguments.figures:
            arguments.figures.mkdir(parents=True, exist_ok=True)
            file = re.sub(r"\W+", "_", name).strip("_")
            draw(name, paths[name], shown, arguments.figures / f"{file}.png")
    console.print(table)
    result = {
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "versions": versions(),
        "shape": {
            title: {"steps": p.steps, "lr": p.lr, "optimizer": "adam", "starts": p.starts}
            for title, p in shown.items()
        },
        "rows": rows,
    }
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
