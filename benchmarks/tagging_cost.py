"""What do a conditional random field and characters cost in the step of a tagger?

The preset `small` on one set, word by word and with either or both, on batches that are already
there, all variants in turn, in one process; on a CPU, pin it to a core: `taskset -c 0`.

    python benchmarks/tagging_cost.py --data-dir DATA --json benchmarks/results/tagging_cost.json
"""

import argparse
import dataclasses
import json
import statistics
import time
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from mtljax.data import load_data
from mtljax.presets import Config, preset
from mtljax.tasks import Task
from mtljax.training import build_model, make_optimizer, make_step
from mtljax.training.inputs.aligned_streams import AlignedStreams
from mtljax.training.method import make_method
from mtljax.training.model import data_options
from mtljax.training.objectives.device_layout import DeviceLayout
from mtljax.training.passes import passes_of
from mtljax.versions import versions

BATCHES = 8
CHARACTERS = 12
SETS = ("snips", "ud_ewt", "wnut17")
VARIANTS = {
    "word by word": (None, 0),
    "crf": ("crf", 0),
    "characters": (None, CHARACTERS),
    "crf and characters": ("crf", CHARACTERS),
}


def prepared(config: Config, task: Task, data_dir: str) -> tuple[Any, Any, list[Any]]:
    """The compiled step of a tagger, its first state and some batches."""
    tasks = (task,)
    data = load_data(
        tasks, data_options(config, tasks), tokenizer=config.tokenizer, data_dir=data_dir
    )
    model = build_model(config, data.layout)
    streams = AlignedStreams(data, config, frozenset())
    batches = [jax.device_put(next(streams)[0]) for _ in range(BATCHES)]
    streams.close()
    method = make_method(config, 1)
    passes, _ = passes_of(config, model, method, jax.devices()[:1])
    optimizer = make_optimizer(config.optimizer, config.steps)
    made = make_step(model, method, optimizer, config, DeviceLayout(passes=passes))
    state = jax.jit(made.init)(batches[0])
    step = jax.jit(made.update, donate_argnums=0).lower(state, batches[0]).compile()
    return step, state, batches


def measured(name: str, data_dir: str, rounds: int) -> list[dict[str, Any]]:
    """Milliseconds of a step of each variant, and over that of the first."""
    small, steps = preset("small").config, {}
    for variant, (loss, characters) in VARIANTS.items():
        tokenizer = dataclasses.replace(small.tokenizer, characters=characters)
        task = Task("tags", name, "tagging", "tokens", "tags", loss=loss)
        steps[variant] = prepared(dataclasses.replace(small, tokenizer=tokenizer), task, data_dir)
    # Other processes on the machine do not count in a processor's own time.
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    seconds: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for turn in range(rounds + 1):
        for variant, (step, state, batches) in steps.items():
            began = clock()
            for batch in batches:
                state, _ = step(state, batch)
            steps[variant] = step, jax.block_until_ready(state), batches
            if turn:
                seconds[variant].append((clock() - began) / BATCHES)
    rows, (first, *_) = [], VARIANTS
    for variant, own in seconds.items():
        ratios = [a / b for a, b in zip(own, seconds[first], strict=True)]
        rows.append(
            {
                "set": name,
                "variant": variant,
                "milliseconds": round(1e3 * statistics.median(own), 1),
                "over_first": round(statistics.median(ratios), 3),
                "least_over_least": round(min(own) / min(seconds[first]), 3),
                "baseline": first,
            }
        )
    return rows


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--rounds", type=int, default=5, help=f"of {BATCHES} steps each")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [
        row for name in options.sets for row in measured(name, options.data_dir, options.rounds)
    ]
    table = Table(*(key.replace("_", " ") for key in rows[0]))
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
    if options.json:
        device = jax.devices()[0].device_kind
        answer = {"versions": versions(), "device": device, "rows": rows}
        options.json.write_text(json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    main()
