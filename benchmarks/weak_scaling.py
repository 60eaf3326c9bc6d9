"""Does a device compute and send the same, however many devices share a step that grows with them?

Compiles the step for 1, 2, 4 and 8 devices of this host, the batch growing with them, by the
functions behind ``mtljax plan``; nothing is run, and time on a few cores would say nothing. Bytes
are held against the formulas: ``2 P (N - 1) / N`` for plain data parallelism, `exchanged_bytes` for
tasks on groups of devices.
"""

import argparse
import dataclasses
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from mtljax.data.tokenizers import TokenizerSettings
from mtljax.modules import EncoderConfig, HeadsConfig
from mtljax.parallel import exchanged_bytes, stacked_bytes
from mtljax.planning import Assumed
from mtljax.planning.plan import layout_of, plan, read_topology
from mtljax.presets import BatchConfig, Config, OptimizerConfig, ParallelConfig
from mtljax.tasks import Task

DEVICES = (1, 2, 4, 8)
TASKS = 8
ROWS = 2
"""Rows of a task and device."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", max(DEVICES))
    rows = [_row(way, count) for way in ("sum", "exact") for count in DEVICES]
    first = {row["way"]: row for row in rows if row["devices"] == 1}
    for row in rows:
        base = first[row["way"]]
        row["baseline"] = f"{row['way']} on 1 device"
        row["ratio"] = round(row["flops_per_device"] / base["flops_per_device"], 4)
        row["sent_to_formula"] = (
            round(row["sent_bytes"] / row["formula_bytes"], 4) if row["formula_bytes"] else None
        )
    _print(rows)
    if options.json is not None:
        content = {
            "device": "CPU devices of one host, compiled for, not run",
            "versions": {name: metadata.version(name) for name in ("jax", "jaxlib")},
            "shape": {"tasks": TASKS, "rows_a_task_and_device": ROWS, "row_length": 64},
            "rows": rows,
        }
        options.json.write_text(json.dumps(content, indent=1) + "\n")


def _row(way: str, count: int) -> dict[str, Any]:
    config = Config(
        weighting="equal" if way == "sum" else "mgda",
        tokenizer=TokenizerSettings(kind="byte"),
        batch=BatchConfig(tokens=TASKS * ROWS * count * 64, multiple=ROWS * count),
        encoder=EncoderConfig(
            "transformer", embedding=64, features=64, layers=2, heads=2, feed_forward=256
        ),
        heads=HeadsConfig(pooling=("mean",)),
        optimizer=OptimizerConfig(average=0.0),
        parallel=ParallelConfig(data=0, strategy="shard_map"),
    )
    if way == "exact":
        task = ParallelConfig(task=count, placement="task" if count > 1 else "auto")
        config = dataclasses.replace(config, parallel=task)
    tasks = [Task(f"task_{i}", f"set_{i}", "classification", "text", "label") for i in range(TASKS)]
    topology, devices = read_topology(str(count))
    found = plan(config, layout_of(config, tasks, Assumed(classes=4)), topology, devices)
    size = 4 * found.shared_parameters
    formula = (
        stacked_bytes(size, 1, 1, count) if way == "sum" else exchanged_bytes(size, TASKS, count, 1)
    )
    return {
        "way": way,
        "devices": count,
        "tokens": found.tokens,
        "flops_per_device": found.flops_per_device,
        "sent_bytes": found.collective_bytes_total,
        "collective_bytes": found.collective_bytes,
        "formula_bytes": round(formula),
        "shared_bytes": size,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table(title="a step that grows with its devices, each of them", title_justify="left")
    for name in ("way", "devices", "MFLOP", "ratio", "sent MB", "formula MB"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row["way"],
            str(row["devices"]),
            f"{row['flops_per_device'] / 1e6:.1f}",
            f"{row['ratio']:.3f}",
            f"{row['sent_bytes'] / 1e6:.3f}",
            f"{row['formula_bytes'] / 1e6:.3f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
