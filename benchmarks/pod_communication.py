"""Is the exact Gramian on a pod as cheap as the plain sum of the losses?

Compiles the train step of the preset ``large`` for TPU pods that are not there, by the functions
behind ``mtljax plan``: plain data parallelism (one all-reduce of the summed gradient), MGDA with
tasks on groups of devices, and MGDA with the stacked gradients all-reduced. And the preset ``xl``
under FSDP. Needs the extra 'tpu'; nothing is run. Every program is read from its text.
"""

import argparse
import dataclasses
import json
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from mtljax.data import Assumed, Layout
from mtljax.presets import Config, ParallelConfig, preset
from mtljax.tasks import Task
from mtljax.training.plan import Plan, layout_of, plan, read_topology
from mtljax.training.plan_table import fit_text, plan_table

TOPOLOGIES = ("v5p:4x4x8", "v5e:16x16", "v6e:16x16")
KINDS = ("classification", "tagging", "regression", "classification")
TARGETS = {"classification": "label", "tagging": "tags", "regression": "stars"}
PLAIN, PLACED, STACKED = "plain data parallelism", "tasks on groups", "stacked gradients"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--topologies", nargs="*", default=list(TOPOLOGIES))
    parser.add_argument("--tasks", nargs="*", type=int, default=[8, 16])
    parser.add_argument("--only", nargs="*", default=[PLAIN, PLACED, STACKED, "xl"])
    options = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    console = Console()
    rows = _known(options.json)
    for topology in options.topologies:
        for tasks in options.tasks:
            for way in (PLAIN, PLACED, STACKED):
                if way in options.only:
                    _add(rows, way, "large", topology, tasks, console)
                    _write(options.json, rows)
    if "xl" in options.only:
        _add(rows, "FSDP", "xl", "v5e:16x16", 8, console)
        _write(options.json, rows)


def configuration(way: str, name: str, tasks: int, devices: int) -> Config:
    """The preset with the batch and the mesh of one way; every group has a row a device."""
    config = preset(name).config
    parallel = {
        PLAIN: ParallelConfig(data=0, strategy="shard_map"),
        PLACED: ParallelConfig(task=tasks, data=0, placement="task"),
        STACKED: ParallelConfig(data=0, strategy="shard_map"),
        "FSDP": ParallelConfig(data=0, sharding="fsdp"),
    }[way]
    length = config.batch.row_length
    batch = dataclasses.replace(config.batch, tokens=devices * tasks * length, multiple=devices)
    return dataclasses.replace(
        config,
        batch=batch,
        parallel=parallel,
        weighting="mgda" if way in (PLACED, STACKED) else "equal",
    )


def layout(config: Config, tasks: int) -> Layout:
    """Tasks with inputs of their own: half classify, a quarter tag, a quarter predict a number."""
    made = [
        Task(f"task_{i}", f"set_{i}", KINDS[i % 4], "words", TARGETS[KINDS[i % 4]])
        for i in range(tasks)
    ]
    return layout_of(config, made, Assumed(classes=16))


def _add(
    rows: list[dict[str, Any]], way: str, name: str, topology: str, tasks: int, console: Console
) -> None:
    if any(
        (row["way"], row["preset"], row["topology"], row["tasks"]) == (way, name, topology, tasks)
        for row in rows
    ):
        return
    pod, devices = read_topology(topology)
    config = configuration(way, name, tasks, pod.count)
    started = time.monotonic()
    found = plan(config, layout(config, tasks), pod, devices)
    baseline = next(
        (
            row
            for row in rows
            if (row["way"], row["preset"], row["topology"], row["tasks"])
            == (PLAIN, name, topology, tasks)
        ),
        None,
    )
    row = {
        "way": way,
        "preset": name,
        "tasks": tasks,
        "baseline": PLAIN,
        **found._asdict(),
        "ratio": None if baseline is None else _ratios(found, baseline),
    }
    if way == PLAIN:
        row["ratio"] = dict.fromkeys(("collective_bytes", "memory", "flops"), 1.0)
    rows.append(row)
    console.print(f"{way}, {tasks} tasks, {time.monotonic() - started:.0f} s: {fit_text(found)}")
    console.print(plan_table([found]), row["ratio"])


def _ratios(found: Plan, baseline: dict[str, Any]) -> dict[str, float | None]:
    pairs = {
        "collective_bytes": (found.collective_bytes_total, baseline["collective_bytes_total"]),
        "memory": (found.hbm_bytes_per_device, baseline["hbm_bytes_per_device"]),
        "flops": (found.flops_per_device, baseline["flops_per_device"]),
    }
    return {
        name: round(value / base, 4) if value is not None and base else None
        for name, (value, base) in pairs.items()
    }


def _known(path: Path | None) -> list[dict[str, Any]]:
    """Rows of an earlier call, which is gone on with."""
    return json.loads(path.read_text())["rows"] if path is not None and path.exists() else []


def _write(path: Path | None, rows: list[dict[str, Any]]) -> None:
    if path is None:
        return
    content = {
        "device": "compiled for, not run",
        "versions": {name: metadata.version(name) for name in ("jax", "jaxlib", "libtpu")},
        "shape": {
            "row_length": preset("large").config.batch.row_length,
            "rows": "one a device and task",
            "vocabulary": preset("large").config.tokenizer.vocab_size,
        },
        "rows": rows,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
