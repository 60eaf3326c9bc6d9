"""Does Grad-TAG predict what training on a subset of sixteen tasks gives, and at what price?

FDU-MTL, a folder a domain in `--fdu`: words of each text, hashed to `--buckets` columns by TF-IDF,
one shared hidden layer, a head a domain. Random subsets are really trained, from nothing and from
the model of all domains, and taken at their best evaluation; `mtljax.relatedness` predicts the same
losses from that model alone, with gradients of `--examples` texts a domain. Held-out texts are
those of validation and test together; both choose by them how far training goes.

    python benchmarks/grad_tag.py --fdu DIR --json benchmarks/results/grad_tag.json

What is done is in the JSON file, and the same command goes on from there; pin it to a core.
FLOPs are those of matrix products, and of sketches two a parameter and text.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.stats
from rich.console import Console

from mtljax.linear import NgramSettings, learn_ngrams, ngram_features
from mtljax.parallel import traced_flops
from mtljax.relatedness import class_margin, linearize, subset_losses
from mtljax.versions import versions

BATCH = 256
EVALUATIONS = 2  # a pass
RIDGES = (1.0, 1e-1, 1e-2, 1e-3)
OPTIMIZER = optax.adam(1e-3)

spearmanr: Any = scipy.stats.spearmanr


class Texts(NamedTuple):
    """Texts of all domains, those of one after the other."""

    x: jax.Array
    y: jax.Array
    task: jax.Array
    starts: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Texts of each domain."""
        return np.diff(self.starts)


def read(directory: Path, names: list[str], buckets: int) -> tuple[Texts, Texts]:
    """Training texts, and held-out ones."""

    def rows(name: str, splits: tuple[str, ...]) -> list[dict[str, str]]:
        files = [directory / name / f"{split}.jsonl" for split in splits]
        return [json.loads(line) for file in files for line in file.open(encoding="utf-8")]

    def of_splits(splits: tuple[str, ...]) -> list[list[dict[str, str]]]:
        return [rows(name, splits) for name in names]

    parts = [of_splits(("train",)), of_splits(("validation", "test"))]
    settings = NgramSettings(sizes=(1, 1), buckets=buckets, sublinear=True)
    ngrams = learn_ngrams((row["text"] for of_task in parts[0] for row in of_task), settings)
    found = []
    for part in parts:
        features = ngram_features((row["text"] for of_task in part for row in of_task), ngrams)
        dense = np.zeros(features.shape, np.float32)
        dense[features.rows, features.columns] = features.values
        labels = np.array([row["label"] == "positive" for of_task in part for row in of_task], int)
        sizes = [len(of_task) for of_task in part]
        task = np.repeat(np.arange(len(part)), sizes)
        starts = np.cumsum([0, *sizes])
        found.append(Texts(jnp.asarray(dense), jnp.asarray(labels), jnp.asarray(task), starts))
    return found[0], found[1]


def initial(key: jax.Array, buckets: int, hidden: int, tasks: int) -> dict[str, jax.Array]:
    """Parameters that are drawn."""
    return {
        "hidden": jax.random.normal(key, (buckets, hidden)) * 0.3,
        "bias": jnp.zeros(hidden),
        "heads": jnp.zeros((tasks, hidden)),
        "offsets": jnp.zeros(tasks),
    }


def margin(params: Any, example: Any) -> jax.Array:
    """The margin of one text."""
    x, y, task = example
    features = jnp.tanh(x @ params["hidden"] + params["bias"])
    logit = features @ params["heads"][task] + params["offsets"][task]
    return class_margin(logit[..., None], y)


def batch_loss(params: Any, batch: Any) -> jax.Array:
    """The mean loss of some texts."""
    x, y, task = batch
    features = jnp.tanh(x @ params["hidden"] + params["bias"])
    logits = jnp.sum(features * params["heads"][task], -1) + params["offsets"][task]
    return jnp.mean(jax.nn.softplus(-jnp.where(y == 1, logits, -logits)))


def update(state: Any, batch: Any) -> Any:
    """One step."""
    params, moments = state
    updates, moments = OPTIMIZER.update(jax.grad(batch_loss)(params, batch), moments)
    return optax.apply_updates(params, updates), moments


def make_steps(train: Texts) -> Callable[..., Any]:
    """Steps on texts of some domains, each as often as any other."""
    starts, sizes = jnp.asarray(train.starts[:-1]), jnp.asarray(train.sizes)

    @partial(jax.jit, donate_argnums=0)
    def steps(state: Any, key: jax.Array, chances: jax.Array, count: jax.Array) -> Any:
        def step(number: jax.Array, state: Any) -> Any:
            of_task, of_text = jax.random.split(jax.random.fold_in(key, number))
            task = jax.random.choice(of_task, chances.size, (BATCH,), p=chances)
            place = jax.random.uniform(of_text, (BATCH,)) * sizes[task]
            row = starts[task] + place.astype(jnp.int32)
            return update(state, (train.x[row], train.y[row], task))

        return jax.lax.fori_loop(0, count, step, state)

    return steps


def make_losses(held_out: Texts) -> Callable[..., Any]:
    """The held-out loss of every domain."""
    tasks = len(held_out.sizes)

    @jax.jit
    def losses(params: Any) -> jax.Array:
        features = jnp.tanh(held_out.x @ params["hidden"] + params["bias"])
        logits = jnp.sum(features * params["heads"][held_out.task], -1)
        logits = logits + params["offsets"][held_out.task]
        values = jax.nn.softplus(-jnp.where(held_out.y == 1, logits, -logits))
        sums = jnp.zeros(tasks).at[held_out.task].add(values)
        return sums / jnp.asarray(held_out.sizes)

    return losses


class Trained(NamedTuple):
    """A run at its best evaluation."""

    params: Any
    losses: np.ndarray
    steps: int
    evaluations: int


def trained(
    start: Any, subset: np.ndarray, passes: int, seed: int, train: Texts, steps: Any, losses: Any
) -> Trained:
    """A run on a subset; it ends before its last pass where two passes have made nothing better."""
    chances = jnp.asarray(subset / subset.sum(), jnp.float32)
    each = max(1, round(train.sizes[subset].sum() / BATCH / EVALUATIONS))
    params = jax.tree.map(jnp.copy, start)
    state = params, OPTIMIZER.init(params)
    best, since, done = None, 0, 0
    for number in range(passes * EVALUATIONS):
        state = steps(state, jax.random.fold_in(jax.random.key(seed), number), chances, each)
        done = number + 1
        found = np.asarray(losses(state[0]))
        if best is None or found[subset].mean() < best[1][subset].mean():
            best, since = (jax.tree.map(jnp.copy, state[0]), found), 0
        else:
            since += 1
        if since >= 2 * EVALUATIONS:
            break
    assert best is not None
    return Trained(*best, done * each, done)


def summary(predicted: np.ndarray, real: np.ndarray, subsets: np.ndarray) -> dict[str, Any]:
    """How near predictions are: over all pairs of a subset and a task of it."""
    ours, theirs = predicted[subsets], real[subsets]
    by_task = [
        spearmanr(predicted[within, task], real[within, task]).statistic
        for task, within in enumerate(subsets.T)
        if within.sum() > 2
    ]
    means = [
        np.array([losses[subset].mean() for losses, subset in zip(table, subsets, strict=True)])
        for table in (predicted, real)
    ]
    constant = np.array([real[within, task].mean() for task, within in enumerate(subsets.T)])
    of_constant = np.broadcast_to(constant, real.shape)[subsets]
    return {
        "pairs": int(subsets.sum()),
        "mean_relative_error": float(np.mean(np.abs(ours / theirs - 1))),
        "error_of_each_tasks_mean": float(np.mean(np.abs(of_constant / theirs - 1))),
        "rank_correlation": float(spearmanr(ours, theirs).statistic),
        "rank_correlation_within_tasks": float(np.mean(by_task)),
        "rank_correlation_of_subset_means": float(spearmanr(*means).statistic),
    }


def main() -> None:
    """Train, predict, compare; go on where the JSON file ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fdu", type=Path, required=True, help="directory of FDU-MTL")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--subsets", type=int, default=40)
    parser.add_argument("--passes", type=int, default=10, help="of a run, at most")
    parser.add_argument("--examples", type=int, default=600, help="texts a domain with gradients")
    parser.add_argument("--size", type=int, default=64, help="of projected gradients")
    parser.add_argument("--buckets", type=int, default=2048)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--minutes", type=float, default=60, help="to stop after")
    arguments = parser.parse_args()
    names = sorted(path.parent.name for path in arguments.fdu.glob("*/train.jsonl"))
    if not names:
        parser.error(f"--fdu {arguments.fdu}: no TASK/train.jsonl")
    settings = {
        name: getattr(arguments, name)
        for name in ("subsets", "passes", "examples", "size", "buckets", "hidden")
    }
    done: dict[str, Any] = {"settings": settings, "rows": []}
    if arguments.json.exists():
        done = json.loads(arguments.json.read_text())
        if done["settings"] != settings:
            parser.error(f"--json {arguments.json}: of other settings: {done['settings']}")
    console, began = Console(), time.monotonic()

    def write() -> None:
        about = {"versions": versions(), "device": jax.devices()[0].device_kind, "tasks": names}
        arguments.json.write_text(json.dumps({**about, **done}, indent=1) + "\n")

    train, held_out = read(arguments.fdu, names, arguments.buckets)
    steps, losses = make_steps(train), make_losses(held_out)
    start = initial(jax.random.key(0), arguments.buckets, arguments.hidden, len(names))
    generator = np.random.default_rng(0)
    subsets: list[np.ndarray] = []
    while len(subsets) < arguments.subsets:
        drawn = generator.random(len(names)) < 0.5
        if drawn.sum() > 1 and not any(np.array_equal(drawn, other) for other in subsets):
            subsets.append(drawn)
    texts = train.x[:BATCH], train.y[:BATCH], train.task[:BATCH]
    step_flops = traced_flops(jax.make_jaxpr(update)((start, OPTIMIZER.init(start)), texts).jaxpr)
    evaluation_flops = traced_flops(jax.make_jaxpr(losses)(start).jaxpr)

    def flops(run: Trained) -> float:
        return step_flops * run.steps + evaluation_flops * run.evaluations

    console.print(f"{len(train.y)} texts, {len(held_out.y)} held out, {len(names)} domains")
    clock = time.process_time()
    everything = np.ones(len(names), bool)
    base = trained(start, everything, arguments.passes, 0, train, steps, losses)
    done["joint"] = {
        "losses": np.round(base.losses, 5).tolist(),
        "flops": flops(base),
        "cpu_seconds": round(time.process_time() - clock, 1),
    }
    console.print(f"joint: mean loss {base.losses.mean():.4f}, {done['joint']['cpu_seconds']} s")

    if "predicted" not in done:
        # Every so many texts, so that both classes are there.
        chosen = np.concatenate(
            [
                np.unique(np.linspace(first, last - 1, arguments.examples).astype(int))
                for first, last in zip(train.starts[:-1], train.starts[1:], strict=True)
            ]
        )
        seen = train.x[chosen], train.y[chosen], train.task[chosen]
        held = held_out.x, held_out.y, held_out.task
        clock, count = time.process_time(), 0.0
        read_margins = partial(linearize, margin, size=arguments.size)
        near = []
        for examples in (seen, held):
            function = jax.jit(lambda params, e: read_margins(params, e, e[2]))
            near.append(jax.block_until_ready(function(base.params, examples)))
            count += traced_flops(jax.make_jaxpr(function)(base.params, examples).jaxpr)
            size = sum(leaf.size for leaf in jax.tree.leaves(base.params))
            count += 2.0 * size * len(examples[1])
        of_subsets = jax.jit(lambda a, b, s: subset_losses(a, b, s, ridges=RIDGES))
        answer = jax.block_until_ready(of_subsets(*near, np.array(subsets)))
        count += traced_flops(jax.make_jaxpr(of_subsets)(*near, np.array(subsets)).jaxpr)
        done["predicted"] = {
            "losses": np.round(np.asarray(answer.losses), 5).tolist(),
            "ridges": np.asarray(answer.ridge).tolist(),
            "flops": count,
            "cpu_seconds": round(time.process_time() - clock, 1),
        }
        write()
        console.print(f"predicted in {done['predicted']['cpu_seconds']} s")

    for kind, begin in (("from the joint model", base.params), ("from nothing", start)):
        there = {row["subset"] for row in done["rows"] if row["kind"] == kind}
        for number in sorted(set(range(len(subsets))) - there):
            if time.monotonic() - began > 60 * arguments.minutes:
                console.print("time is up; the same command goes on")
                return
            clock = time.process_time()
            run = trained(
                begin, subsets[number], arguments.passes, number + 1, train, steps, losses
            )
            done["rows"].append(
                {
                    "kind": kind,
                    "subset": number,
                    "tasks": np.flatnonzero(subsets[number]).tolist(),
                    "losses": np.round(run.losses, 5).tolist(),
                    "flops": flops(run),
                    "cpu_seconds": round(time.process_time() - clock, 1),
                }
            )
            write()
        rows = sorted((r for r in done["rows"] if r["kind"] == kind), key=lambda r: r["subset"])
        real = np.array([row["losses"] for row in rows])
        found = summary(np.array(done["predicted"]["losses"]), real, np.array(subsets))
        cost = sum(row["flops"] for row in rows)
        ours = done["predicted"]["flops"]
        found |= {
            "flops_share": ours / cost,
            "flops_share_with_joint": (ours + done["joint"]["flops"]) / cost,
            "cpu_seconds_of_runs": round(sum(row["cpu_seconds"] for row in rows), 1),
        }
        done.setdefault("summary", {})[kind] = found
        write()
        console.print(kind, found)


if __name__ == "__main__":
    main()
