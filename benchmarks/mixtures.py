"""How close do rates that are learned online come to the best fixed ones?

`planted`: one small network learns one function of its inputs from three groups of data. The useful
group has ever new examples, but only of one half of the inputs; the redundant one repeats a few
examples of the other half; the noisy one has random labels for all. A tenth of all labels is wrong,
so that no loss can be 0, as that of no text can. What counts is the loss on new inputs of both
halves, which is given as it is, and as the share of what lies between equal rates and the best. A
step reads one group. Every fixed mixture on a grid is trained, and the one that is best over the
seeds is what each schedule of `mtljax.mixtures` is compared with; measuring steps are extra, and
costed in the table.

`texts`: in runs of `mtljax train`, how many tokens a schedule needs to reach the mean validation
loss that uniform rates reach at the end; the tasks file, options and schedules are yours.

    python benchmarks/mixtures.py planted --json benchmarks/results/mixtures.json
    python benchmarks/mixtures.py texts --tasks TASKS.yaml --runs DIR --steps 2000 pike doge
"""

import argparse
import dataclasses
import functools
import itertools
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

from mtljax import mixtures
from mtljax.versions import versions

GROUPS = ("useful", "redundant", "noisy")
INPUTS, TEACHER, HIDDEN, BATCH, POOL, CHECKED = 12, 3, 16, 16, 48, 512
STEPS, EVERY, LR, WRONG = 600, 25, 0.01, 0.1
GRID = 8

Params = dict[str, jax.Array]


def labels(seed_key: jax.Array, x: jax.Array) -> jax.Array:
    """The teacher: the sign of a small random network, which a seed draws."""
    inner, outer = jax.random.split(jax.random.fold_in(seed_key, 1))
    features = jnp.tanh(x @ jax.random.normal(inner, (INPUTS, TEACHER)))
    return (features @ jax.random.normal(outer, (TEACHER,)) > 0).astype(jnp.float32)


def draw(
    seed_key: jax.Array, key: jax.Array, group: jax.Array | int, size: int = BATCH
) -> tuple[jax.Array, jax.Array]:
    """A batch of a group; of group 3 the inputs that count, for validation."""
    of_inputs, of_labels, of_pool = jax.random.split(key, 3)
    x = jax.random.normal(of_inputs, (size, INPUTS))
    pool = jax.random.normal(jax.random.fold_in(seed_key, 2), (POOL, INPUTS))
    x = jnp.where(group == 1, pool[jax.random.randint(of_pool, (size,), 0, POOL)], x)
    one_half = jnp.where(group == 0, 1, -1) * jnp.abs(x[:, 0])
    x = x.at[:, 0].set(jnp.where(group < 2, one_half, x[:, 0]))
    wrong = jax.random.bernoulli(of_labels, jnp.where(group == 2, 0.5, WRONG), (size,))
    return x, jnp.abs(labels(seed_key, x) - wrong)


def loss_of(params: Params, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
    """The logistic loss of the network."""
    x, y = batch
    logits = jnp.tanh(x @ params["inner"] + params["bias"]) @ params["outer"]
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, y))


def initial(seed_key: jax.Array) -> Params:
    """The parameters that a seed draws."""
    inner, outer = jax.random.split(jax.random.fold_in(seed_key, 3))
    return {
        "inner": jax.random.normal(inner, (INPUTS, HIDDEN)) / np.sqrt(INPUTS),
        "bias": jnp.zeros(HIDDEN),
        "outer": jax.random.normal(outer, (HIDDEN,)) / np.sqrt(HIDDEN),
    }


def flat(tree: Params) -> jax.Array:
    """All numbers of a tree in a row."""
    return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def signals_of(seed_key: jax.Array, key: jax.Array, params: Params) -> dict[str, jax.Array]:
    """All signals of `mtljax.mixtures`, from a batch of each group and one of validation."""
    keys = jax.random.split(key, len(GROUPS) + 1)
    gradient = jax.value_and_grad(loss_of)
    losses, rows, halves = [], [], []
    for group in range(len(GROUPS)):
        x, y = draw(seed_key, keys[group], group)
        loss, grads = gradient(params, (x, y))
        losses.append(loss)
        rows.append(flat(grads))
        halves.append(flat(gradient(params, (x[::2], y[::2]))[1]))
    checked, grads = gradient(params, draw(seed_key, keys[-1], 3, CHECKED))
    jacobian, half = jnp.stack(rows), jnp.stack(halves)
    variances = jnp.sum((jacobian - half) ** 2, 1)
    gramian = jacobian @ jacobian.T
    toward = jacobian @ flat(grads)
    return {
        "losses": jnp.stack(losses),
        "gramian": gramian,
        "gramian_diagonal": jnp.maximum(jnp.diagonal(gramian) - variances, 0),
        "variances": variances,
        "validation_losses": jnp.full(len(GROUPS), checked),
        "validation_gradients": jnp.broadcast_to(toward / len(GROUPS), (len(GROUPS),) * 2),
    }


def train(schedule: mixtures.Schedule | None, seed: jax.Array, rates: jax.Array) -> Any:
    """The final loss that counts, final training losses of groups, and rates at each update."""
    seed_key = jax.random.key(seed)
    optimizer = optax.adam(LR)
    params = initial(seed_key)
    learned = None
    if schedule is not None:
        learned = jax.tree.map(jnp.asarray, schedule.init(len(GROUPS)))
        learned = learned._replace(rates=learned.rates.astype(jnp.float32))

    def step(carry: Any, number: jax.Array) -> Any:
        params, state, rates, had = carry
        key = jax.random.fold_in(jax.random.fold_in(seed_key, 4), number)
        # The group that is furthest behind its share, as in a run.
        due = had + rates
        chosen = jnp.argmax(due)
        batch = draw(seed_key, key, chosen)
        updates, state = optimizer.update(jax.grad(loss_of)(params, batch), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state, rates, due.at[chosen].add(-1)), None

    def period(carry: Any, number: jax.Array) -> Any:
        (params, state, rates, had), learned = carry
        steps = number * EVERY + jnp.arange(EVERY)
        (params, state, rates, had), _ = jax.lax.scan(step, (params, state, rates, had), steps)
        if schedule is not None:
            key = jax.random.fold_in(jax.random.fold_in(seed_key, 5), number)
            rates, learned = schedule.update(signals_of(seed_key, key, params), learned)
        return ((params, state, rates, had), learned), rates

    noise = 1e-3 * jax.random.uniform(jax.random.fold_in(seed_key, 6), (len(GROUPS),))
    start = (params, optimizer.init(params), rates if learned is None else learned.rates, noise)
    ((params, *_), _), history = jax.lax.scan(period, (start, learned), jnp.arange(STEPS // EVERY))
    keys = jax.random.split(jax.random.fold_in(seed_key, 7), 8)
    checked = jnp.mean(
        jnp.stack([loss_of(params, draw(seed_key, key, 3, CHECKED)) for key in keys])
    )
    finals = [
        jnp.mean(jnp.stack([loss_of(params, draw(seed_key, key, group, CHECKED)) for key in keys]))
        for group in range(len(GROUPS))
    ]
    return checked, jnp.stack(finals), history


def schedules(floor: float, reference: np.ndarray) -> dict[str, mixtures.Schedule]:
    """Those that are compared, with their defaults but for the floor."""
    return {
        "pike": mixtures.pike(floor=floor),
        "balanced_pike": mixtures.balanced_pike(floor=floor),
        "doremi": mixtures.doremi(reference.tolist(), floor=floor),
        "doge": mixtures.doge(floor=floor),
        "doge, target": mixtures.doge(floor=floor, target=0),
        "doge, validation": mixtures.doge(floor=floor, validation=True),
        "exp3": mixtures.exp3(floor=floor),
        "elimination": mixtures.elimination(floor=floor),
        "elimination, target": mixtures.elimination(floor=floor, target=0),
    }


COSTS = {
    "pike": 4.5,
    "balanced_pike": 4.5,
    "doremi": 0,
    "doge": 3,
    "doge, target": 3,
    "doge, validation": 3 + CHECKED / BATCH,
    "exp3": CHECKED / BATCH / 3,
    "elimination": 3,
    "elimination, target": 3,
}
"""What an update costs in steps, where a loss without its gradient is a third of one."""


def planted(seeds: int, floor: float) -> dict[str, Any]:
    """Trains the grid of fixed mixtures and every schedule; losses by seed."""
    points = np.array(
        [p for p in itertools.product(range(GRID + 1), repeat=len(GROUPS)) if sum(p) == GRID]
    )
    points = points / GRID
    numbers = jnp.arange(seeds)
    fixed = functools.partial(train, None)
    on_grid = jax.jit(jax.vmap(jax.vmap(fixed, (0, None)), (None, 0)))
    losses, finals, _ = jax.device_get(on_grid(numbers, jnp.asarray(points, jnp.float32)))
    best = int(losses.mean(1).argmin())
    equal = jnp.full(len(GROUPS), 1 / len(GROUPS))
    uniform, reference, _ = jax.device_get(jax.jit(jax.vmap(fixed, (0, None)))(numbers, equal))

    def row(values: np.ndarray, rates: np.ndarray, cost: float = 0.0) -> dict[str, Any]:
        regrets = values / losses[best] - 1
        return {
            "losses": np.round(values, 5).tolist(),
            "regret": round(float(values.mean() / losses[best].mean() - 1), 4),
            "regrets": np.round(regrets, 4).tolist(),
            "gap_closed": round(
                float((uniform.mean() - values.mean()) / (uniform.mean() - losses[best].mean())), 3
            ),
            "mean_rates": np.round(rates, 3).tolist(),
            "extra_steps": round(cost, 4),
        }

    found = {
        "best fixed": row(losses[best], points[best]),
        "uniform": row(uniform, np.asarray(equal)),
    }
    for name, schedule in schedules(floor, reference.mean(0)).items():
        run = jax.jit(jax.vmap(functools.partial(train, schedule), (0, None)))
        values, _, history = jax.device_get(run(numbers, equal))
        found[name] = row(values, history.mean((0, 1)), COSTS[name] / EVERY)
    return {
        "groups": GROUPS,
        "steps": STEPS,
        "every": EVERY,
        "floor": floor,
        "seeds": seeds,
        "grid": {
            " ".join(f"{p:g}" for p in point): round(float(of.mean()), 5)
            for point, of in zip(points, losses, strict=True)
        },
        "rows": found,
        "versions": versions(),
    }


def texts(options: argparse.Namespace) -> dict[str, Any]:
    """Tokens to the mean validation loss that uniform rates end with, by schedule and seed."""
    import mtljax
    from mtljax.presets import read_config
    from mtljax.training import read_metrics

    base = read_config({"preset": options.preset, "steps": options.steps})
    base = dataclasses.replace(base, evaluate_every=options.evaluate_every)
    found: dict[str, Any] = {}
    for seed, name in itertools.product(range(options.seeds), ("uniform", *options.schedules)):
        given: dict[str, Any] = {"rates": "equal", "subset": 1}
        if name != "uniform":
            given |= {"schedule": name, "every": options.every}
        if name == "doremi":
            given |= {"reference": str(options.runs / f"uniform-seed{seed}")}
        mixture = dataclasses.replace(base.mixture, **given)
        config = dataclasses.replace(base, seed=seed, mixture=mixture)
        directory = options.runs / f"{name}-seed{seed}"
        mtljax.train(config, options.tasks, directory, console=Console(quiet=True))
        lines = [line for line in read_metrics(directory) if line["split"] == "validation"]
        curve = [
            (line["step"], np.mean([v for key, v in line.items() if key.endswith("/loss")]))
            for line in lines
        ]
        # Steps that read all groups cost what they read.
        groups = len({task.dataset for task in mtljax.tasks.parse_tasks(options.tasks, Path.cwd())})
        whole = (groups - 1) / options.every if name in ("pike", "balanced_pike", "doge") else 0
        found.setdefault(name, {})[seed] = [
            (round(step * (1 + whole)), round(float(loss), 5)) for step, loss in curve
        ]
    ratios = {}
    for name in options.schedules:
        ratios[name] = []
        for seed in range(options.seeds):
            last, goal = found["uniform"][seed][-1]
            reached = next((s for s, loss in found[name][seed] if loss <= goal), None)
            ratios[name].append(None if reached is None else round(last / reached, 3))
    return {"steps": options.steps, "curves": found, "fewer_tokens": ratios}


def table_of(result: dict[str, Any]) -> Table:
    """The rows of `planted` as a table."""
    table = Table(
        "rates", "loss", "regret (%)", "of seeds", "gap closed (%)", *GROUPS, "extra steps (%)"
    )
    for name, row in result["rows"].items():
        spread = f"{100 * min(row['regrets']):.1f} to {100 * max(row['regrets']):.1f}"
        table.add_row(
            name,
            f"{np.mean(row['losses']):.4f}",
            f"{100 * row['regret']:.1f}",
            spread,
            f"{100 * row['gap_closed']:.0f}",
            *(f"{rate:.2f}" for rate in row["mean_rates"]),
            f"{100 * row['extra_steps']:.0f}",
        )
    return table


def main() -> None:
    """Runs one part, shows it and writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("planted", "texts"))
    parser.add_argument("schedules", nargs="*", help="of `texts`")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--floor", type=float, default=0.1)
    parser.add_argument("--tasks", help="of `texts`: a tasks file")
    parser.add_argument("--runs", type=Path, help="of `texts`: where runs are kept")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--evaluate-every", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    began = time.perf_counter()
    result = texts(options) if options.part == "texts" else planted(options.seeds, options.floor)
    console = Console()
    if options.part == "planted":
        console.print(table_of(result))
    else:
        console.print(result["fewer_tokens"])
    console.print(f"{time.perf_counter() - began:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
