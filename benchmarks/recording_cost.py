"""What does a run pay for recording how its tasks' gradients go together, every tenth step?

Sixteen sentiment tasks with batches of their own (FDU-MTL, 8,192 tokens a step in rows of 128), by
the encoders of `price_in_a_run.py`. Without recording, and with it (`--gradients.telemetry
--gradients.telemetry-every 10`): ten steps of the run in full each, by turns, with the sums that
the log keeps of each step's metrics. Affinities, conflicts and groups are made of what was written.

    python benchmarks/recording_cost.py --fdu DIR --json benchmarks/results/recording_cost.json

The process's own seconds count, on a CPU; pin it to a core: `taskset -c 0`.
"""

import argparse
import dataclasses
import json
import statistics
import time
from pathlib import Path
from typing import Any

import jax
from price_in_a_run import BATCHES, runs
from rich.console import Console
from rich.table import Table

from mtljax.data import load_data
from mtljax.presets import Config
from mtljax.tasks import Task
from mtljax.training import build_model, make_optimizer
from mtljax.training.inputs.abstract_batch import abstract_batch
from mtljax.training.inputs.aligned_streams import AlignedStreams
from mtljax.training.measured_steps import distribute_measured, step_of
from mtljax.training.method import make_method
from mtljax.training.model import data_options
from mtljax.training.reporting.data_overview import class_counts
from mtljax.training.reporting.gradient_stats import GradientStats
from mtljax.versions import versions

EVERY = 10


def measure(config: Config, tasks: tuple[Task, ...], rounds: int) -> dict[str, Any]:
    """Seconds of a step of both, and what recording adds to one."""
    data = load_data(tasks, data_options(config, tasks), tokenizer=config.tokenizer)
    model = build_model(config, data.layout, class_counts(data))
    optimizer = make_optimizer(config.optimizer, config.steps or 1000)
    streams = AlignedStreams(data, config, frozenset())
    batches = [jax.device_put(next(streams)[0]) for _ in range(BATCHES)]
    streams.close()
    recording = dataclasses.replace(config.gradients, telemetry=True, telemetry_every=EVERY)
    configs = {"plain": config, "recording": dataclasses.replace(config, gradients=recording)}
    methods = {name: make_method(one, len(tasks)) for name, one in configs.items()}
    devices = {
        name: distribute_measured(one, model, methods[name], optimizer, abstract_batch(data.layout))
        for name, one in configs.items()
    }
    states = {name: one.init(batches[0]) for name, one in devices.items()}
    names = [task.name for task in tasks]
    seconds: dict[str, list[float]] = {name: [] for name in configs}
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    for turn in range(rounds + 1):
        for name in configs if turn % 2 else reversed(configs):
            state, stats, began = states[name], GradientStats(names), clock()
            for number in range(1, EVERY + 1):
                step = step_of(devices[name], configs[name], number)
                state, metrics = step(state, batches[number % BATCHES], None)
                read = jax.device_get(metrics)
                if read.gradients is not None:
                    stats.add(read.gradients, read.present)
            stats.means()
            states[name] = jax.block_until_ready(state)
            if turn:
                seconds[name].append((clock() - began) / EVERY)
    pairs = zip(seconds["recording"], seconds["plain"], strict=True)
    ratios = sorted(one / other - 1 for one, other in pairs)
    return {
        "plain_milliseconds": round(1e3 * statistics.median(seconds["plain"]), 2),
        "recording_milliseconds": round(1e3 * statistics.median(seconds["recording"]), 2),
        "added_percent": round(100 * statistics.median(ratios), 2),
        "added_percent_quartiles": [
            round(100 * ratios[len(ratios) * part // 4], 2) for part in (1, 3)
        ],
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fdu", type=Path, required=True, help="directory of FDU-MTL")
    parser.add_argument("--only", nargs="+", help="names of runs")
    parser.add_argument("--rounds", type=int, default=15, help=f"of {EVERY} steps each")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not any(arguments.fdu.glob("*/train.jsonl")):
        parser.error(f"--fdu {arguments.fdu}: no TASK/train.jsonl")
    console, rows = Console(), []
    for run, (config, tasks) in runs(arguments.fdu).items():
        if len(tasks) < 16 or (arguments.only and run not in arguments.only):
            continue
        found = {"run": run, "tasks": len(tasks), **measure(config, tasks, arguments.rounds)}
        rows.append(found | {"baseline": "plain", "every": EVERY})
        console.print(found)
    table = Table("run", "tasks", "plain ms", "recording ms", "added %")
    for row in rows:
        keys = ("run", "tasks", "plain_milliseconds", "recording_milliseconds", "added_percent")
        table.add_row(*(str(row[key]) for key in keys))
    console.print(table)
    if arguments.json:
        device = jax.devices()[0].device_kind
        answer = {"versions": versions(), "device": device, "rows": rows}
        arguments.json.write_text(json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    main()
