"""What does gradient balancing cost, as a multiple of the plain weighted sum?

Whole training steps (forward, backward, method, Adam; compiled, state donated) of a small
transformer with T classification tasks: 8,192 x 256 embedding, 4 pre-norm layers of width 256,
4 heads, feed-forward 1,024, 64 tokens, 16 rows a task, float32. On a GPU 24 layers of width 1,024,
512 tokens, 4 rows a task, bfloat16, the layers in a loop. Three settings:

- `own`: every task has a batch of its own. Plain: the gradient of the mean loss of all batches as
  one; `plain, looped` takes the batches one after the other and needs less memory.
- `shared`: all tasks read one batch. `backward passes`: one forward pass and the T backward passes
  that exact per-task gradients need, without a method, each added to the sum as it comes;
  `backward passes, kept`: the same with all T gradients there at once, as a method finds them.
- `packed`: own batches of unlike lengths, two texts a row, the attention within a text.

    python -m venv /tmp/torchjd && /tmp/torchjd/bin/pip install 'torchjd[full]==0.18.0' numpy
    python benchmarks/aggregation_overhead.py --torchjd /tmp/torchjd/bin/python \
        --json benchmarks/results/aggregation_overhead.json

Steps of all variants are taken in turn, in an order drawn anew each time, short ones twice, of
which the second counts; a time is the median ratio to the plain step of the same round, and with a
shared batch to `backward passes` too. FLOPs are those of the matrix products, counted in the
program before XLA, with the trips of its loops (XLA's own count takes the body of a loop once),
without fused attention and without the second Gramian of gradients whose squares float32 does not
have, a branch that these never take.
Memory is XLA's: arguments, outputs and temporaries of the compiled step. TorchJD runs in an
environment of its own, in turn with the plain PyTorch step, on as many threads; its memory is the
growth of the resident set during its first step. On a GPU it runs before JAX takes the memory.
Every method is measured at T = 8, with batches of their own at T = 32 too, a few at the other T.
`--keep` measures some cells anew (`--settings`, `--tasks`) and leaves the others of the JSON as
they are.
"""

import argparse
import functools
import itertools
import json
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

from mtljax import aggregation, gradients, weighting
from mtljax.gradients import Examples
from mtljax.modules.feed_forward import gelu
from mtljax.parallel import traced_flops
from mtljax.versions import versions

CLASSES = 10


class Shape(NamedTuple):
    """Of the encoder and of a task's batch."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    feed_forward: int
    length: int
    rows: int
    dtype: str
    unroll: int = 0  # layers that a pass of the loop over them has; 0 without a loop


SHAPES = {
    "tiny": Shape(64, 32, 2, 2, 64, 16, 4, "float32", unroll=1),  # to try the script itself
    "small": Shape(8192, 256, 4, 4, 1024, 64, 16, "float32"),
    "large": Shape(8192, 1024, 24, 16, 4096, 512, 16, "bfloat16", unroll=24),
}
_SHORT = 0.5
"""Seconds of a step that is taken twice, of which the second counts."""

FEW = ("mgda", "upgrad", "famo", "lagged", "sketched", "representation")


def initial(shape: Shape, num_tasks: int) -> tuple[Any, dict[str, jax.Array]]:
    """Parameters of the encoder and of the heads; the layers are in a list, for a loop stacked."""
    keys = iter(jax.random.split(jax.random.key(0), 8 + 4 * shape.layers + num_tasks))

    def normal(rows: int, columns: int) -> jax.Array:
        return jax.random.normal(next(keys), (rows, columns)) * rows**-0.5

    d, f = shape.width, shape.feed_forward
    layers = [
        {
            "attention_norm": jnp.ones(d),
            "qkv": normal(d, 3 * d),
            "out": normal(d, d),
            "feed_forward_norm": jnp.ones(d),
            "up": normal(d, f),
            "down": normal(f, d),
        }
        for _ in range(shape.layers)
    ]
    if shape.unroll:
        layers = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
    shared = {
        "words": normal(shape.vocabulary, d) * shape.vocabulary**0.5,
        "places": normal(2 * shape.length, d),
        "layers": layers,
        "norm": jnp.ones(d),
    }
    return shared, {f"task{i}": normal(d, CLASSES) for i in range(num_tasks)}


def make_encode(shape: Shape) -> Callable[[Any, Any], jax.Array]:
    """The encoder: mean-pooled features ``[B, D]`` of tokens, or of tokens and their segments."""
    dtype = jnp.dtype(shape.dtype)
    fused = "cudnn" if jax.default_backend() == "gpu" and dtype == jnp.bfloat16 else None

    @jax.checkpoint
    def norm(x, scale):
        wide = x.astype(jnp.float32)
        wide = wide - wide.mean(-1, keepdims=True)
        wide = wide * jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + 1e-6)
        return (wide * scale).astype(dtype)

    curve = jax.checkpoint(gelu)

    def encode(shared, inputs):
        tokens, segments = inputs if isinstance(inputs, tuple) else (inputs, None)
        mask = None if segments is None else (segments[:, :, None] == segments[:, None])[:, None]
        rows, length = tokens.shape
        x = shared["words"][tokens] + shared["places"][:length]
        # Products of matrices: of [rows, length, width], XLA copies what comes back transposed.
        x = x.astype(dtype).reshape(rows * length, -1)

        def through(x, layer):
            y = norm(x, layer["attention_norm"]) @ layer["qkv"].astype(dtype)
            y = y.reshape(rows, length, 3, shape.heads, -1)
            y = jax.nn.dot_product_attention(
                y[:, :, 0], y[:, :, 1], y[:, :, 2], mask=mask, implementation=fused
            )
            x = x + y.reshape(x.shape) @ layer["out"].astype(dtype)
            y = norm(x, layer["feed_forward_norm"]) @ layer["up"].astype(dtype)
            return x + curve(y) @ layer["down"].astype(dtype), None

        if shape.unroll:
            x, _ = jax.lax.scan(through, x, shared["layers"], unroll=shape.unroll)
        else:
            for layer in shared["layers"]:
                x, _ = through(x, layer)
        x = norm(x, shared["norm"]).astype(jnp.float32)
        return x.reshape(rows, length, -1).mean(1)

    return encode


def head(params: jax.Array, features: jax.Array, targets: jax.Array) -> jax.Array:
    """The loss of a linear classifier."""
    return optax.softmax_cross_entropy_with_integer_labels(features @ params, targets).mean()


def make_batch(shape: Shape, num_tasks: int, setting: str) -> dict[str, Examples]:
    """A batch by input group."""
    rng = np.random.default_rng(0)

    def tokens(length: int) -> jax.Array:
        return jnp.asarray(rng.integers(0, shape.vocabulary, (shape.rows, length)))

    def targets() -> jax.Array:
        return jnp.asarray(rng.integers(0, CLASSES, shape.rows))

    names = [f"task{i}" for i in range(num_tasks)]
    if setting == "shared":
        return {"all": Examples(tokens(shape.length), {name: targets() for name in names})}
    if setting == "own":
        return {name: Examples(tokens(shape.length), {name: targets()}) for name in names}
    # Lengths from half to one and a half of the usual one.
    lengths = shape.length * (0.5 + np.arange(num_tasks) / max(num_tasks - 1, 1)) // 8 * 8
    batch = {}
    for name, length in zip(names, lengths.astype(int), strict=True):
        cut = rng.integers(length // 4, 3 * length // 4, (shape.rows, 1))
        segments = jnp.asarray((np.arange(length) >= cut).astype(np.int32))
        batch[name] = Examples((tokens(length), segments), {name: targets()})
    return batch


class Step(NamedTuple):
    """A variant of the training step: ``(carry, batch) -> carry``, and the first carry."""

    run: Callable[[Any, Any], Any]
    first: Any


def make_steps(shape: Shape, num_tasks: int, setting: str, names: Iterable[str]) -> dict[str, Step]:
    """The variants of this setting, by name; 'plain' first."""
    encode, adam = make_encode(shape), optax.adam(1e-4)
    params = initial(shape, num_tasks)
    heads, first_moments = dict.fromkeys(params[1], head), adam.init(params)
    equal = jnp.full(num_tasks, 1 / num_tasks)

    def moved(params: Any, moments: Any, found: Any) -> tuple[Any, Any]:
        updates, moments = adam.update(found, moments, params)
        return optax.apply_updates(params, updates), moments

    def plain(carry, batch):
        params, moments = carry

        def objective(params):
            shared, own = params
            if setting != "own":
                return gradients.task_losses(encode, heads, shared, own, batch).mean()
            rows = jnp.concatenate([examples.inputs for examples in batch.values()])
            features = encode(shared, rows).reshape(num_tasks, shape.rows, -1)
            losses = [head(own[n], f, batch[n].targets[n]) for n, f in zip(own, features)]  # noqa: B905
            return sum(losses) / num_tasks

        return moved(params, moments, jax.grad(objective)(params))

    def looped(carry, batch):
        params, moments = carry
        shared, own = params
        rows = jax.tree.map(
            lambda *leaves: jnp.stack(leaves),
            *[(batch[n].inputs, batch[n].targets[n], own[n]) for n in own],
        )

        def add(total, row):
            inputs, targets, one = row
            slope, of_head = jax.grad(
                lambda shared, one: head(one, encode(shared, inputs), targets) / num_tasks, (0, 1)
            )(shared, one)
            return jax.tree.map(jnp.add, total, slope), of_head

        total, slopes = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, shared), rows)
        return moved(params, moments, (total, {n: slopes[i] for i, n in enumerate(own)}))

    def passes(carry, batch, kept=False):
        params, moments = carry
        found = gradients.task_gradients(encode, heads, params[0], params[1], batch)
        shared = jax.lax.optimization_barrier(found.shared) if kept else found.shared
        return moved(params, moments, (gradients.combine(equal, shared), found.heads))

    def exact(method):
        aggregator = aggregation.from_weighting(method, num_tasks)

        def run(carry, batch):
            params, moments, rule = carry
            found = gradients.task_gradients(encode, heads, params[0], params[1], batch)
            direction, rule = aggregator.update(found.shared, rule, losses=found.losses)
            return *moved(params, moments, (direction, found.heads)), rule

        return Step(run, (params, first_moments, method.init(num_tasks)))

    def lagged(method, size):
        def run(carry, batch):
            params, moments, rule, weights = carry
            found = gradients.lagged_gradients(
                encode, heads, params[0], params[1], batch, weights, sketch=size
            )
            new, rule = method.update(found.losses, rule, gramian=found.gramian)
            return *moved(params, moments, (found.direction, found.heads)), rule, new

        return Step(run, (params, first_moments, method.init(num_tasks), equal))

    def representation(method):
        def run(carry, batch):
            params, moments, rule = carry
            found = gradients.representation_gradients(encode, heads, params[0], params[1], batch)
            products = gradients.gramian(found.features)
            weights, rule = method.update(found.losses, rule, gramian=products)
            direction = found.pull_back(gradients.combine(weights, found.features))
            return *moved(params, moments, (direction, found.heads)), rule

        return Step(run, (params, first_moments, method.init(num_tasks)))

    def famo(method, per_task):
        def run(carry, batch):
            params, moments, rule, *after = carry
            signals = {"losses_after": after[0]} if after else {}

            def objective(params):
                losses = gradients.task_losses(encode, heads, params[0], params[1], batch)
                weights, new = method.update(losses, rule, **signals)
                return jax.lax.stop_gradient(weights) @ losses, new

            if per_task:
                one = gradients.task_gradients(encode, heads, params[0], params[1], batch)
                weights, rule = method.update(one.losses, rule, **signals)
                own = {n: w * one.heads[n] for n, w in zip(heads, weights, strict=True)}
                found = (gradients.combine(weights, one.shared), own)
            else:
                found, rule = jax.grad(objective, has_aux=True)(params)
            new, moments = moved(params, moments, found)
            if after:
                after = [gradients.task_losses(encode, heads, new[0], new[1], batch)]
            return new, moments, rule, *after

        after = [jnp.ones(num_tasks)] if "losses_after" in method.requires else []
        return Step(run, (params, first_moments, method.init(num_tasks), *after))

    simple = (params, first_moments)
    steps = {"plain": Step(plain, simple)}
    if setting == "own":
        steps["plain, looped"] = Step(looped, simple)
    if setting == "shared":
        steps["backward passes"] = Step(passes, simple)
        steps["backward passes, kept"] = Step(functools.partial(passes, kept=True), simple)
    for name in names:
        method = weighting.METHODS.get(name)
        if name == "famo":
            later = weighting.famo(post="next")
            steps["famo"] = famo(weighting.famo(), setting == "own")
            steps["famo, next batch"] = famo(later, setting == "own")
            if setting == "own":
                steps["famo, next batch, weighted losses"] = famo(later, False)
        elif name == "lagged":
            steps["mgda, lagged"] = lagged(weighting.mgda(), None)
        elif name == "sketched":
            steps["mgda, sketched"] = lagged(weighting.mgda(), 4096)
        elif name == "representation" and setting == "shared":
            steps["mgda, representation"] = representation(weighting.mgda())
        elif method is not None and not (name == "krum" and num_tasks < 4):
            steps[name] = exact(method())
    return steps


def gramian_methods() -> list[str]:
    """Weightings that read the Gramian, or its diagonal, and nothing else of the gradients."""
    found = []
    for name, factory in weighting.METHODS.items():
        if name != "fixed":
            requires = factory().requires - {"losses"}
            if requires and requires <= {"gramian", "gramian_diagonal"}:
                found.append(name)
    return found


def measure(
    steps: dict[str, Step], batch: Any, rounds: int, say: Callable[[str], None], threads: int
) -> dict[str, dict[str, Any]]:
    """Compiles all variants, then takes their steps in turn; one that fails says so.

    With several threads they are compiled side by side, and how long each took is not known.
    """
    found, compiled = {}, {}
    seconds: dict[str, list[float]] = {name: [] for name in steps}

    def failed(name: str, error: Exception) -> None:
        compiled.pop(name, None)
        found[name] = {"error": f"{type(error).__name__}: {error}"[:200]}
        say(f"  {name}: {found[name]['error']}")

    def compile_one(step: Step) -> tuple[Any, dict[str, Any]]:
        began = time.perf_counter()
        traced = jax.jit(step.run, donate_argnums=0).trace(step.first, batch)
        program = traced.lower().compile()
        took = time.perf_counter() - began
        memory: Any = program.memory_analysis()
        total = memory.argument_size_in_bytes + memory.output_size_in_bytes
        total += memory.temp_size_in_bytes - memory.alias_size_in_bytes
        flops = traced_flops(traced.jaxpr.jaxpr, min)
        figures = {"gigaflops": flops / 1e9, "megabytes": total / 1e6}
        return program, figures | ({"compile_seconds": took} if threads == 1 else {})

    with ThreadPoolExecutor(threads) as pool:
        answers = {name: pool.submit(compile_one, step) for name, step in steps.items()}
        for name, answer in answers.items():
            try:
                compiled[name], found[name] = answer.result()
            except Exception as error:  # noqa: BLE001
                failed(name, error)
                continue
            say(f"  compiled {name}")
    order, draw_order = list(steps), random.Random(0)
    for turn in range(rounds + 1):
        draw_order.shuffle(order)
        for name in order:
            if name not in compiled:
                continue
            step = steps[name]
            try:
                # A carry of each variant would not fit beside the others.
                carry = jax.block_until_ready(jax.tree.map(jnp.copy, step.first))
                began = time.perf_counter()
                carry = jax.block_until_ready(compiled[name](carry, batch))
                took = time.perf_counter() - began
                if took < _SHORT:
                    # The first step after one of more memory pays for getting its own back.
                    began = time.perf_counter()
                    carry = jax.block_until_ready(compiled[name](carry, batch))
                    took = time.perf_counter() - began
                del carry
            except Exception as error:  # noqa: BLE001
                failed(name, error)
                continue
            if turn:
                seconds[name].append(took)
    if "error" in found["plain"]:
        raise SystemExit(f"the plain step fails: {found['plain']['error']}")
    for name in compiled:
        found[name]["seconds"] = statistics.median(seconds[name])
        for base, figure in (("plain", "ratio"), ("backward passes", "passes_ratio")):
            if base in compiled:
                ratios = [a / b for a, b in zip(seconds[name], seconds[base], strict=True)]
                found[name][figure] = statistics.median(ratios)
    return found


class Peer:
    """TorchJD in a process of its own: a line of JSON there, a line back."""

    def __init__(self, python: str, shape: Shape) -> None:
        """Start it."""
        place = Path(__file__).parent / "peers" / "torchjd_gradients.py"
        self._process = subprocess.Popen(
            [python, "-W", "ignore", str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._shape = shape
        self.versions: dict[str, str] = {}

    def ask(self, num_tasks: int, setting: str, rounds: int) -> dict[str, Any]:
        """Seconds, ratios and memory by variant; its versions are kept in `versions`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        request = {**self._shape._asdict(), "classes": CLASSES, "tasks": num_tasks}
        request |= {"setting": setting, "rounds": rounds}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the process of TorchJD ended")
        answer = json.loads(line)
        self.versions = answer["versions"]
        return answer["variants"]

    def close(self) -> None:
        """Ends it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def rows_of(
    found: dict[str, dict[str, float]], setting: str, num_tasks: int, stacked: float | None
) -> list[dict[str, Any]]:
    """Rows of the JSON: every figure with its ratio to the plain step."""
    rows = []
    plain = found["plain" if stacked is not None else "PyTorch, plain"]
    for name, figures in found.items():
        if "error" in figures:
            rows.append({"setting": setting, "tasks": num_tasks, "method": name, **figures})
            continue
        row = {"setting": setting, "tasks": num_tasks, "method": name, **figures}
        row["baseline"] = "plain" if stacked is not None else "PyTorch, plain"
        row["memory_ratio"] = figures["megabytes"] / plain["megabytes"]
        if stacked is not None:
            row["flops_ratio"] = figures["gigaflops"] / plain["gigaflops"]
            row["memory_bound_ratio"] = figures["megabytes"] / max(plain["megabytes"], stacked)
        rows.append({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
    return rows


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """The table."""
    table = Table(title="cost of a step, relative to the plain weighted sum")
    columns = ("setting", "T", "method", "s", "time", "passes", "FLOPs", "memory", "compile s")
    for column in columns:
        table.add_column(column, justify="left" if column in ("setting", "method") else "right")
    for row in rows:
        if "error" in row:
            console.print(f"{row['method']}: {row['error']}", highlight=False)
            continue
        table.add_row(
            row["setting"],
            str(row["tasks"]),
            row["method"],
            f"{row['seconds']:.3f}",
            f"{row['ratio']:.2f}",
            f"{row['passes_ratio']:.3f}" if "passes_ratio" in row else "",
            f"{row['flops_ratio']:.3f}" if "flops_ratio" in row else "",
            f"{row['memory_ratio']:.2f}",
            f"{row['compile_seconds']:.1f}" if "compile_seconds" in row else "",
        )
    console.print(table)


def headline(rows: list[dict[str, Any]]) -> str:
    """The table of the README, own batches: times of a step, and as multiples of the plain one."""
    columns = {
        "plain": "plain sum",
        "upgrad": "UPGrad, exact",
        "mgda, sketched": "MGDA, sketched",
        "PyTorch, plain": "PyTorch, plain sum",
        "TorchJD UPGrad, autojac": "TorchJD UPGrad, autojac",
        "TorchJD UPGrad, autojac, task by task": "the same, task by task",
        "TorchJD UPGrad, autogram": "TorchJD UPGrad, autogram",
    }
    own = {(row["tasks"], row["method"]): row for row in rows if row["setting"] == "own"}
    lines = ["| T | " + " | ".join(columns.values()) + " |", "|---" * (len(columns) + 1) + "|"]
    for count in sorted({tasks for tasks, _ in own}):
        cells = [str(count)]
        for name in columns:
            row = own.get((count, name))
            if row is None:
                cells.append("not measured")
            elif "error" in row:
                cells.append("out of memory" if "memory" in row["error"] else "fails")
            elif row["method"] == row["baseline"]:
                cells.append(f"{row['seconds']:.2f} s")
            else:
                cells.append(f"{row['ratio']:.2f}x, {row['seconds']:.2f} s")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], place: Path) -> None:
    """Time against T, own batches: ours and TorchJD's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    lines = {
        "upgrad": ("mtljax UPGrad, exact", "#0072B2", "o"),
        "mgda, sketched": ("mtljax MGDA, sketched", "#009E73", "s"),
        "TorchJD UPGrad, autojac": ("TorchJD UPGrad, autojac", "#D55E00", "^"),
        "TorchJD UPGrad, autojac, task by task": (
            "TorchJD UPGrad, autojac, task by task",
            "#E69F00",
            "v",
        ),
        "TorchJD UPGrad, autogram": ("TorchJD UPGrad, autogram", "#CC79A7", "D"),
    }
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    counts = sorted({row["tasks"] for row in rows})
    for name, (label, colour, marker) in lines.items():
        own = [r for r in rows if r["setting"] == "own" and r["method"] == name and "ratio" in r]
        own.sort(key=lambda row: row["tasks"])
        if own:
            axes.plot(
                [row["tasks"] for row in own],
                [row["ratio"] for row in own],
                marker=marker,
                label=label,
                color=colour,
            )
    axes.axhline(1, color="0.6", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel="tasks, each with its own batch")
    axes.set_ylabel("time of a step / plain step")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.xaxis.set_minor_locator(NullLocator())
    ticks = [1, 2, 4, 8, 16, 32]
    axes.set_yticks(ticks, [f"{tick}x" for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(color="0.92")
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(place, dpi=120)


def names_of(setting: str, count: int, few: bool) -> list[str]:
    """The methods of a cell: every one where the table wants it, else those of the figure."""
    wide = count == 8 or (count == 32 and setting == "own")
    return [*gramian_methods(), *FEW[2:]] if wide and not few else list(FEW)


def main() -> None:
    """Measure, print, draw, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--torchjd", help="Python of an environment with TorchJD")
    parser.add_argument("--tasks", type=int, nargs="+", default=[2, 4, 8, 16, 32])
    parser.add_argument("--settings", nargs="+", default=["own", "shared", "packed"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--few", action="store_true", help="not every method, anywhere")
    parser.add_argument("--keep", action="store_true", help="other cells of the JSON stay")
    parser.add_argument("--rows", type=int, help="of a task's batch, in place of the shape's")
    parser.add_argument("--threads", type=int, default=1, help="compile so many at once, untimed")
    parser.add_argument("--shape", choices=SHAPES, help="large on a GPU, else small")
    arguments = parser.parse_args()
    console = Console()
    on_gpu = Path("/dev/nvidia0").exists()  # JAX, if asked, would take the GPU's memory
    shape = SHAPES[arguments.shape or ("large" if on_gpu else "small")]
    shape = shape._replace(rows=arguments.rows or shape.rows)
    peer = Peer(arguments.torchjd, shape) if arguments.torchjd else None

    @functools.cache
    def theirs(setting: str, count: int) -> list[dict[str, Any]]:
        if peer is None:
            return []
        # Of many tasks a single step, which takes minutes.
        found = peer.ask(count, setting, 3 if count <= 8 else 0)
        return rows_of(found, setting, count, None)

    cells = list(itertools.product(arguments.settings, arguments.tasks))
    rows: list[dict[str, Any]] = []
    if arguments.keep and arguments.json.exists():
        old = json.loads(arguments.json.read_text())["rows"]
        rows = [row for row in old if (row["setting"], row["tasks"]) not in cells]
    if on_gpu and peer is not None:
        for cell in cells:
            theirs(*cell)
        peer.close()
    for setting, count in cells:
        console.print(f"{setting}, T = {count}", highlight=False)
        steps = make_steps(shape, count, setting, names_of(setting, count, arguments.few))
        stacked = count * 4e-6 * sum(x.size for x in jax.tree.leaves(initial(shape, 1)[0]))
        # Steps are short where one batch is shared, and there is more to disturb them.
        rounds = arguments.rounds * (2 if setting == "shared" else 1)
        found = measure(
            steps, make_batch(shape, count, setting), rounds, console.print, arguments.threads
        )
        new = rows_of(found, setting, count, stacked) + theirs(setting, count)
        rows += new
        show(new, console)
        result = {
            "device": f"{jax.devices()[0].device_kind}, {jax.local_device_count()} device(s)",
            "versions": versions() | (peer.versions if peer else {}),
            "shape": {**shape._asdict(), "classes": CLASSES, "optimizer": "adam"},
            "rows": rows,
        }
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    draw(rows, arguments.json.with_suffix(".png"))
    print(headline(rows))


if __name__ == "__main__":
    main()
