"""How many tokens a second does a model write, with and without a cache, greedily and by beams?

A transformer with random weights writes 64 tokens after prompts of equal length, in float32 on a
CPU and bfloat16 on a GPU. Apart: reading the prompts (`prefill`, to the first logits) and writing
(`decode`, the tokens after it). Variants:

- `greedy`: the cache of keys and values;
- `greedy, no cache`: the whole text is read again for each token (`--uncached-most` rows at most);
- `beam 4`: log probabilities of whole texts, no end mark, so that all are equally long.

    python -m venv /tmp/hf && /tmp/hf/bin/pip install torch transformers==5.24.0
    python benchmarks/generation.py --transformers /tmp/hf/bin/python \
        --json benchmarks/results/generation.json

With `--transformers` the same is measured of Hugging Face's GPT-2 of the same width, layers, heads,
feed-forward block and vocabulary, with random weights and `generate`, in an environment of its own
and in turn, round by round, on as many threads; on a GPU it takes its memory before JAX does. Its
`no cache` is `use_cache=False`. Times of writing are the median of the whole less the median of
reading. The ratio of a row is its time of writing to that of the baseline it names: of `greedy` to
transformers' `greedy`, of another variant to its own `greedy`.
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from mtljax.data import Group, Layout, Shape
from mtljax.generation import GREEDY, advance, beam_search, begin, decode, recomputing
from mtljax.inference.decoder import make_decodable, prepare
from mtljax.kinds import Output
from mtljax.modules import EncoderConfig, HeadsConfig, encode, predict
from mtljax.presets import Config
from mtljax.tasks import Task
from mtljax.training import build_model
from mtljax.training.model import initial_params
from mtljax.versions import versions

VARIANTS = ("greedy", "greedy, no cache", "beam 4")
BEAMS = 4


class Size(NamedTuple):
    """Of the model."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    feed_forward: int


class Case(NamedTuple):
    """What is measured."""

    variant: str
    batch: int
    prompt: int
    tokens: int


SMALL = Size(8192, 256, 4, 4, 1024)
LARGE = Size(32_768, 1024, 24, 16, 4096)
TINY = Size(64, 16, 2, 2, 32)


def make_cases(size: Size, dtype: str) -> Callable[[Case], Callable[[], tuple[float, float]]]:
    """From a case to a function that measures it: seconds of reading, and of all."""
    task = Task("next", dataset="made_up", kind="language_model", inputs="text")
    ids = np.arange(size.vocabulary, dtype=np.int32)
    layout = Layout(
        groups=(Group("made_up", (task,), "text", "causal", None, True),),
        outputs={"next": Output(size.vocabulary, ids=ids)},
        shapes={"made_up": Shape(rows=1, row_length=64, max_segments=1, affixes=0)},
        vocab_size=size.vocabulary,
        affix_buckets=0,
    )
    encoder = EncoderConfig(
        "transformer",
        embedding=size.width,
        features=size.width,
        layers=size.layers,
        heads=size.heads,
        feed_forward=size.feed_forward,
    )
    model = build_model(Config(encoder=encoder, heads=HeadsConfig(), dtype=dtype), layout)  # pyright: ignore
    params = jax.jit(lambda: initial_params(model))()
    weights = prepare(model, "next", params)
    cached = make_decodable(model, "next", np.zeros((size.vocabulary, 0), np.int32))

    def next_logits(params: Any, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
        columns = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
        segments = (columns < lengths[:, None]).astype(jnp.int32)
        batch = {"tokens": tokens, "segments": segments, "positions": columns}
        features = encode(model.network, params["shared"], "made_up", batch)
        last = jnp.take_along_axis(features.hidden, (lengths - 1)[:, None, None], axis=1)
        readout: Any = predict(
            model.network, params["heads"]["next"], "next", features._replace(hidden=last), 1
        )
        return readout.logits()[:, 0]

    def make(case: Case) -> Callable[[], tuple[float, float]]:
        shape, room = (case.batch, case.prompt), case.tokens
        tokens = np.random.default_rng(0).integers(4, size.vocabulary, shape).astype(np.int32)
        positions = np.broadcast_to(np.arange(case.prompt, dtype=np.int32), shape)
        batch = {"tokens": tokens, "segments": np.ones_like(tokens), "positions": positions}
        keys = jax.random.split(jax.random.key(0), case.batch)
        read = jax.jit(lambda w, b, k: begin(cached, w, b, k, room, room))
        write = jax.jit(lambda w, rows: advance(cached, w, rows, GREEDY), donate_argnums=1)
        search = jax.jit(lambda w, b: beam_search(cached, w, b, room, room, BEAMS))
        plain = recomputing(next_logits)
        lengths = np.full(case.batch, case.prompt, np.int32)
        again = jax.jit(lambda p, t, k: decode(plain, p, (t, lengths), k, room, room, GREEDY))

        def measure() -> tuple[float, float]:
            began = time.perf_counter()
            rows = jax.block_until_ready(read(weights, batch, keys))
            middle = time.perf_counter()
            if case.variant == "greedy":
                jax.block_until_ready(write(weights, rows).tokens)
                return middle - began, time.perf_counter() - began
            if case.variant == "beam 4":
                jax.block_until_ready(search(weights, batch).tokens)
            else:
                jax.block_until_ready(again(params, tokens, keys).tokens)
            return middle - began, time.perf_counter() - middle

        return measure

    return make


class Peer:
    """Measures cases in the environment of Hugging Face's transformers."""

    def __init__(self, python: str, size: Size, dtype: str, longest: int) -> None:
        request = {**size._asdict(), "dtype": dtype, "longest": longest, "beams": BEAMS}
        place = Path(__file__).parent / "peers" / "hf_generation.py"
        self._process = subprocess.Popen(
            [python, "-W", "ignore", str(place), json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.versions = self._answer()

    def __call__(self, case: Case) -> tuple[float, float]:
        """Seconds of reading, and of all."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(case._asdict()) + "\n")
        self._process.stdin.flush()
        prefill, whole = self._answer()["seconds"]
        return prefill, whole

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """What is measured, in order."""
    for batch in arguments.batches:
        for prompt in arguments.prompts:
            for variant in VARIANTS:
                if variant != "greedy, no cache" or batch <= arguments.uncached_most:
                    yield Case(variant, batch, prompt, arguments.tokens)


def measured(
    make: Callable[[Case], Callable[[], tuple[float, float]]],
    peer: Peer | None,
    case: Case,
    rounds: int,
) -> dict[str, list[tuple[float, float]]]:
    """Seconds of every round, by library; the first round, which compiles, is left out."""
    ours = make(case)
    found: dict[str, list[tuple[float, float]]] = {"mtljax": []}
    for turn in range(rounds + 1):
        seconds = {"mtljax": ours()}
        if peer:
            seconds["transformers"] = peer(case)
        for library, pair in seconds.items():
            if turn:
                found.setdefault(library, []).append(pair)
    return found


def rows_of(found: dict[Case, dict[str, list[tuple[float, float]]]]) -> list[dict[str, Any]]:
    """A row a case and library."""
    rows = []
    writing = {
        (case, library): statistics.median(whole for _, whole in seconds)
        - statistics.median(prefill for prefill, _ in seconds)
        for case, libraries in found.items()
        for library, seconds in libraries.items()
    }
    for case, libraries in found.items():
        greedy = case._replace(variant="greedy")
        for library, seconds in libraries.items():
            base = library
            if case == greedy and "transformers" in libraries:
                base = "transformers"
            own = writing[case, library]
            rows.append(
                {
                    "library": library,
                    **case._asdict(),
                    "prefill_ms": round(1e3 * statistics.median(pair[0] for pair in seconds), 3),
                    "decode_ms": round(1e3 * own, 3),
                    "tokens_per_second": round(case.batch * case.tokens / own, 1),
                    "baseline": f"{base}, greedy",
                    "ratio": round(own / writing[greedy, base], 3),
                }
            )
    return rows


def show(console: Console, rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    table = Table(title="writing; ratio: time to that of the baseline")
    for column in ("variant", "batch", "prompt", "library", "prefill ms", "tokens/s", "ratio"):
        table.add_column(column, justify="left" if column in ("variant", "library") else "right")
    for row in rows:
        table.add_row(
            row["variant"],
            str(row["batch"]),
            str(row["prompt"]),
            row["library"],
            f"{row['prefill_ms']:.1f}",
            f"{row['tokens_per_second']:,.0f}",
            f"{row['ratio']:.2f}",
        )
    console.print(table)


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--prompts", type=int, nargs="+", default=[16, 128])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--uncached-most", type=int, default=8)
    parser.add_argument("--transformers", help="Python of an environment with transformers")
    parser.add_argument("--tiny", action="store_true", help="a model to try the script with")
    arguments = parser.parse_args()
    console = Console()
    gpu = os.environ.get("JAX_PLATFORMS", "") != "cpu" and Path("/dev/nvidia0").exists()
    size, dtype = (LARGE, "bfloat16") if gpu else (SMALL, "float32")
    size = TINY if arguments.tiny else size
    longest = max(arguments.prompts) + arguments.tokens
    peer = None
    if arguments.transformers:
        if gpu:
            os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.4")
        peer = Peer(arguments.transformers, size, dtype, longest)
    make = make_cases(size, dtype)
    found = {}
    for case in cases(arguments):
        found[case] = measured(make, peer, case, arguments.rounds)
        console.print(f"measured {', '.join(map(str, case))}")
    rows = rows_of(found)
    show(console, rows)
    result = {
        "device": f"{jax.devices()[0].device_kind}, {jax.local_device_count()} device(s)",
        "versions": {**versions(), **(peer.versions if peer else {})},
        "shape": {**size._asdict(), "dtype": dtype, "tokens": arguments.tokens},
        "rows": rows,
    }
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
