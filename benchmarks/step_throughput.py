"""How many tokens a second does a training step take, and what share of the device's peak?

Whole steps (encoder, heads, losses, method, clipping, AdamW, moving average) on batches that are
already there, real tokens only:

- the presets, on the text in the package;
- the LSTM and the transformer encoder on the tasks of `small`;
- the weightings on `small`: from losses, from the Gramian, every fourth step, sketched;
- on a GPU, or with `--large`, an encoder of BERT-large's size (24 layers of width 1,024, 512
  tokens) with four classification tasks, each with its own batch, in bfloat16: plain and balanced,
  beside an equal PyTorch model under `torch.compile` with its fused attention (`--torch PYTHON`);
  its layers are unrolled, as a loop over them takes half as long again on a GPU.

    python benchmarks/step_throughput.py --json benchmarks/results/step_throughput.json

MFU is model FLOPs over time over the peak. FLOPs are those of the matrix products of the forward
and backward pass, counted in the program, loops by their trips; recomputed ones are not wanted, so
that nothing is rematerialized here, and fused attention counts as the plain one does. The peak is
the dense bfloat16 one of the GPU's data sheet, on a CPU what a product of two 2,048 x 2,048 float32
matrices reaches, measured before and after.
"""

import argparse
import dataclasses
import functools
import json
import statistics
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

from mtljax import aggregation, gradients, weighting
from mtljax.data import load_data
from mtljax.gradients import Examples
from mtljax.modules import TransformerEncoder
from mtljax.parallel import peak_flops, traced_flops
from mtljax.parallel.peak import measured_peak
from mtljax.presets import Config, GradientsConfig, preset
from mtljax.tasks import Task
from mtljax.training import build_model, make_optimizer, make_step
from mtljax.training.inputs.aligned_streams import AlignedStreams
from mtljax.training.method import make_method
from mtljax.training.model import data_options
from mtljax.training.reporting.data_overview import class_counts
from mtljax.versions import versions

LAYERS, WIDTH, HEADS, FEED_FORWARD, LENGTH, ROWS, TASKS = 24, 1024, 16, 4096, 512, 16, 4
IN_A_ROW = 4  # large steps between two looks at the clock


def variants() -> dict[str, tuple[Config, tuple[Task, ...]]]:
    """Configurations and tasks by name; the first is the baseline."""
    small, tasks = preset("small")
    found = {}
    for name in ("small", "linear", "textbook"):
        start = preset(name)
        found[name] = (start.config, start.tasks)
    encoder = dataclasses.replace(small.encoder, kind="transformer", features=128, layers=2)
    found["small, transformer"] = (dataclasses.replace(small, encoder=encoder), tasks)
    for name in ("uncertainty", "famo", "mgda", "upgrad", "nash_mtl"):
        found[f"small, {name}"] = (dataclasses.replace(small, weighting=name), tasks)
    every = dataclasses.replace(small, weighting="upgrad", weighting_options={"every": 4})
    found["small, upgrad every 4"] = (every, tasks)
    sketched = dataclasses.replace(
        small, weighting="upgrad", gradients=GradientsConfig(strategy="sketched")
    )
    found["small, upgrad sketched"] = (sketched, tasks)
    return found


def prepare(config: Config, tasks: tuple[Task, ...], count: int) -> tuple[Any, Any, list[Any]]:
    """The traced step, its first state, and batches with their real tokens."""
    method = make_method(config, len(tasks))
    data = load_data(tasks, data_options(config, tasks), tokenizer=config.tokenizer)
    model = build_model(config, data.layout, class_counts(data))
    optimizer = make_optimizer(config.optimizer, config.steps or 1000)
    streams = AlignedStreams(data, config, method.requires)
    batches = []
    for _ in range(count):
        batch, extra = next(streams)
        real = sum(int((rows["segments"] > 0).sum()) for rows in batch.values())
        batches.append((jax.device_put(batch), jax.device_put(extra), real))
    streams.close()
    made = make_step(model, method, optimizer, config)
    state = jax.jit(made.init)(batches[0][0])
    step = jax.jit(made.update, donate_argnums=0)
    return step.trace(state, *batches[0][:2]), state, batches


def presets_and_weightings(
    rounds: int, peak: float, say: Callable[[str], None], only: list[str] | None
) -> list[dict[str, Any]]:
    """Rows for every variant, their steps taken in turn."""
    compiled, states, batches, flops = {}, {}, {}, {}
    for name, (config, tasks) in variants().items():
        if only and name not in only and name != "small":
            continue
        traced, states[name], batches[name] = prepare(config, tasks, 8)
        flops[name] = traced_flops(traced.jaxpr.jaxpr)
        compiled[name] = traced.lower().compile()
        say(f"compiled {name}")
    rates: dict[str, list[float]] = {name: [] for name in compiled}
    for turn in range(rounds + 1):
        for name, step in compiled.items():
            began, tokens, state = time.perf_counter(), 0, states[name]
            for batch, extra, real in batches[name]:
                state, _ = step(state, batch, extra)
                tokens += real
            states[name] = jax.block_until_ready(state)
            if turn:
                rates[name].append(tokens / (time.perf_counter() - began))
    rows = []
    for name, found in rates.items():
        rate = statistics.median(found)
        per_token = flops[name] * len(batches[name]) / sum(real for *_, real in batches[name])
        ratios = [b / a for a, b in zip(found, rates["small"], strict=True)]
        rows.append(
            {
                "variant": name,
                "tokens_per_second": round(rate),
                "megaflops_per_token": round(per_token / 1e6, 3),
                "mfu": round(rate * per_token / peak, 4),
                "baseline": "small",
                "ratio": round(statistics.median(ratios), 3),
            }
        )
    return rows


def torch_seconds(python: str, size: float, rounds: int) -> list[float]:
    """Times of PyTorch's steps; before JAX takes the memory of a GPU."""
    request = {
        "layers": max(1, round(LAYERS * size)),
        "rows": max(1, round(ROWS * size)),
        "width": WIDTH,
        "heads": HEADS,
        "feed_forward": FEED_FORWARD,
        "length": LENGTH,
        "tasks": TASKS,
        "rounds": rounds,
        "in_a_row": IN_A_ROW,
    }
    place = Path(__file__).parent / "peers" / "torch_step.py"
    answer = subprocess.run(
        [python, "-W", "ignore", str(place), json.dumps(request)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(answer.stdout.splitlines()[-1])["seconds"]


def large(
    rounds: int, peak: float, theirs: list[float], size: float, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Rows for the large encoder, plain and balanced, and for PyTorch's."""
    layers, rows = max(1, round(LAYERS * size)), max(1, round(ROWS * size))
    on_gpu = jax.default_backend() == "gpu"
    dtype = jnp.bfloat16 if on_gpu else jnp.float32
    counted = TransformerEncoder(WIDTH, layers, HEADS, FEED_FORWARD, dtype=dtype)
    body = counted.clone(implementation="cudnn", unroll=layers) if on_gpu else counted
    names = [f"task{i}" for i in range(TASKS)]

    def encode(shared, tokens, body=body):
        x = shared["words"][tokens].astype(dtype)
        positions = jnp.broadcast_to(jnp.arange(LENGTH), tokens.shape)
        hidden = body.apply({"params": shared["body"]}, x, None, positions, **mode)
        return hidden.astype(jnp.float32).mean(1)  # pyright: ignore

    def head(params, features, targets):
        return optax.softmax_cross_entropy_with_integer_labels(features @ params, targets).mean()

    mode: dict[str, Any] = {"causal": False, "train": False}
    x, place = jnp.zeros((1, LENGTH, WIDTH), dtype), jnp.zeros((1, LENGTH), jnp.int32)
    key = jax.random.key(0)
    variables: Any = jax.jit(lambda: counted.init(key, x, None, place, **mode))()
    shared = {"words": jax.random.normal(key, (8192, WIDTH)) * 0.02, "body": variables["params"]}
    own = {name: jnp.zeros((WIDTH, 10)) for name in names}
    heads, adamw = dict.fromkeys(names, head), optax.adamw(1e-4)
    rng = np.random.default_rng(0)
    batch = {
        name: Examples(
            jnp.asarray(rng.integers(0, 8192, (rows, LENGTH))),
            {name: jnp.asarray(rng.integers(0, 10, rows))},
        )
        for name in names
    }
    balance = aggregation.from_weighting(weighting.upgrad(), TASKS)

    def plain(carry, batch, encode=encode):
        params, moments, rule = carry

        def objective(p):
            # All rows in one pass, as one would write it by hand.
            features = encode(p[0], jnp.concatenate([batch[name].inputs for name in names]))
            parts = features.reshape(TASKS, rows, WIDTH)
            losses = [
                head(p[1][name], part, batch[name].targets[name])
                for name, part in zip(names, parts, strict=True)
            ]
            return jnp.stack(losses).mean()

        found = jax.grad(objective)(params)
        updates, moments = adamw.update(found, moments, params)
        return optax.apply_updates(params, updates), moments, rule

    def balanced(carry, batch):
        params, moments, rule = carry
        found = gradients.task_gradients(encode, heads, params[0], params[1], batch)
        direction, rule = balance.update(found.shared, rule, losses=found.losses)
        updates, moments = adamw.update((direction, found.heads), moments, params)
        return optax.apply_updates(params, updates), moments, rule

    params = (shared, own)
    tokens, result = TASKS * rows * LENGTH, []
    model = functools.partial(plain, encode=functools.partial(encode, body=counted))
    first = (params, adamw.init(params), balance.init(shared))
    flops = traced_flops(jax.make_jaxpr(model)(first, batch).jaxpr)
    steps = {"large, plain": plain, "large, upgrad": balanced}
    with ThreadPoolExecutor(len(steps)) as pool:
        lowered = [jax.jit(step, donate_argnums=0).lower(first, batch) for step in steps.values()]
        programs = list(pool.map(lambda one: one.compile(), lowered))
    say(f"compiled {', '.join(steps)}")
    for name, program in zip(steps, programs, strict=True):
        carry, seconds = jax.tree.map(jnp.copy, first), []
        for _ in range(rounds + 1):
            began = time.perf_counter()
            for _ in range(IN_A_ROW):
                carry = program(carry, batch)
            jax.block_until_ready(carry)
            seconds.append((time.perf_counter() - began) / IN_A_ROW)
        del carry
        result.append(_large_row(name, seconds[1:], tokens, flops, peak, result))
        say(f"{name}: {statistics.median(seconds[1:]):.4f} s a step")
    if theirs:
        row = _large_row("large, PyTorch compiled", theirs, tokens, flops, peak, result)
        result.append(row)
    return result


def _large_row(
    name: str,
    seconds: list[float],
    tokens: int,
    flops: float,
    peak: float,
    before: list[dict[str, Any]],
) -> dict[str, Any]:
    rate = tokens / statistics.median(seconds)
    base = before[0]["tokens_per_second"] if before else rate
    return {
        "variant": name,
        "tokens_per_second": round(rate),
        "megaflops_per_token": round(flops / tokens / 1e6, 3),
        "mfu": round(rate * flops / tokens / peak, 4),
        "baseline": "large, plain",
        "ratio": round(base / rate, 3),
    }


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--variants", nargs="*", help="only these of the presets; or none")
    parser.add_argument("--large", type=float, help="the large encoder too, at this share of it")
    parser.add_argument("--torch", help="Python of an environment with PyTorch")
    arguments = parser.parse_args()
    console = Console()
    theirs = []
    if arguments.torch:
        theirs = torch_seconds(arguments.torch, arguments.large or 1.0, arguments.rounds)
        console.print(f"PyTorch: {statistics.median(theirs):.4f} s a step")
    size = arguments.large or (1.0 if jax.default_backend() == "gpu" else 0.0)
    peak, _ = peak_flops(jax.devices()[0])
    rows = []
    if arguments.variants != []:
        rows = presets_and_weightings(arguments.rounds, peak, console.print, arguments.variants)
    if size:
        rows += large(arguments.rounds, peak, theirs, size, console.print)
    if jax.default_backend() == "cpu":
        again = measured_peak(jax.devices()[0])
        if again > peak:
            for row in rows:
                row["mfu"] = round(row["mfu"] * peak / again, 4)
            peak = again
    table = Table(title=f"training steps; peak {peak / 1e9:,.0f} GFLOP/s")
    for column in ("variant", "tokens/s", "MFLOP/token", "MFU", "time / baseline"):
        table.add_column(column, justify="left" if column == "variant" else "right")
    for row in rows:
        table.add_row(
            row["variant"],
            f"{row['tokens_per_second']:,}",
            f"{row['megaflops_per_token']:.2f}",
            f"{100 * row['mfu']:.1f} %",
            f"{row['ratio']:.2f} ({row['baseline']})",
        )
    console.print(table)
    result = {
        "device": f"{jax.devices()[0].device_kind}, {jax.local_device_count()} device(s)",
        "versions": versions(),
        "shape": {"peak_flops": peak, "large": size, "large_layers": round(LAYERS * size)},
        "rows": rows,
    }
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
