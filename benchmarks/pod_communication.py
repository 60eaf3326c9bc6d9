"""What do many tasks, and their exact Gramian, cost on a pod beside one batch of one task?

Compiles the train step of the preset ``large`` for TPU pods that are not there, by the functions
behind ``mtljax plan``: plain data parallelism on all rows as one batch of one task, partitioned by
XLA (one gradient, one all-reduce, in the dtype of the computation: nothing is cheaper), the sum of
the tasks' losses and other methods that read losses alone, MGDA with tasks on groups of devices,
and MGDA with the stacked gradients all-reduced. And the preset ``xl`` under FSDP, beside one batch
of as many rows. Needs the extra 'tpu'; nothing is run. Every program is read from its text.
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

from mtljax.data import Layout
from mtljax.planning import Assumed
from mtljax.planning.plan import layout_of, plan, read_topology
from mtljax.planning.table import fit_text, plan_table
from mtljax.presets import Config, ParallelConfig, preset
from mtljax.tasks import Task

TOPOLOGIES = ("v5p:4x4x8", "v5e:16x16", "v6e:16x16")
KINDS = ("classification", "tagging", "regression", "classification")
TARGETS = {"classification": "label", "tagging": "tags", "regression": "stars"}
PLAIN, SUM = "plain data parallelism", "sum of the losses"
PLACED, STACKED = "exact, tasks on groups", "exact, stacked gradients"
PLAIN_FSDP, FSDP = "plain FSDP", "FSDP"
LOSS_ONLY = {"uncertainty": {}, "dwa": {}, "famo": {"post": "next"}}
"""Methods that read losses alone, and their options; compiled for the first topology."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--topologies", nargs="*", default=list(TOPOLOGIES))
    parser.add_argument("--tasks", nargs="*", type=int, default=[8, 16])
    parser.add_argument(
        "--only", nargs="*", default=[PLAIN, SUM, *LOSS_ONLY, PLACED, STACKED, "xl"]
    )
    parser.add_argument("--draw", action="store_true", help="the figure of a JSON, beside it")
    options = parser.parse_args()
    if options.draw:
        _draw(json.loads(options.json.read_text())["rows"], options.json.with_suffix(".png"))
        return
    jax.config.update("jax_platforms", "cpu")
    console = Console()
    rows = _known(options.json)
    for topology in options.topologies:
        for tasks in options.tasks:
            loss_only = LOSS_ONLY if (topology, tasks) == (TOPOLOGIES[0], 8) else ()
            for way in (PLAIN, SUM, PLACED, *loss_only, STACKED):
                if way in options.only:
                    _add(rows, way, "large", topology, tasks, console)
                    _write(options.json, rows)
    if "xl" in options.only:
        for way in (PLAIN_FSDP, FSDP):
            _add(rows, way, "xl", "v5e:16x16", 8, console)
            _write(options.json, rows)


def configuration(way: str, name: str, tasks: int, devices: int) -> Config:
    """The preset with the batch and the mesh of one way; every group has a row a device."""
    config = preset(name).config
    parallel = {
        PLACED: ParallelConfig(task=tasks, data=0, placement="task"),
        STACKED: ParallelConfig(data=0, strategy="shard_map"),
        PLAIN_FSDP: ParallelConfig(data=0, sharding="fsdp"),
        FSDP: ParallelConfig(data=0, sharding="fsdp"),
    }.get(way, ParallelConfig(data=0))
    gradients_are_read = way in (PLACED, STACKED)
    length = config.batch.row_length
    batch = dataclasses.replace(config.batch, tokens=devices * tasks * length, multiple=devices)
    return dataclasses.replace(
        config,
        batch=batch,
        parallel=parallel,
        weighting="mgda" if gradients_are_read else way if way in LOSS_ONLY else "equal",
        weighting_options=LOSS_ONLY.get(way, {}),
    )


def layout(config: Config, tasks: int) -> Layout:
    """Tasks with inputs of their own: half classify, a quarter tag, a quarter predict a number."""
    made = [
        Task(f"task_{i}", f"set_{i}", KINDS[i % 4], "words", TARGETS[KINDS[i % 4]])
        for i in range(tasks)
    ]
    return layout_of(config, made, Assumed(classes=16))


def in_one(whole: Layout) -> Layout:
    """All rows of a layout in the batch of its first task."""
    group = whole.groups[0]
    (task,) = group.tasks
    shape = whole.shapes[group.name]
    rows = sum(one.rows for one in whole.shapes.values())
    return dataclasses.replace(
        whole,
        groups=(group,),
        outputs={task.name: whole.outputs[task.name]},
        shapes={group.name: dataclasses.replace(shape, rows=rows)},
    )


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
    read = layout(config, tasks)
    found = plan(config, in_one(read) if way in (PLAIN, PLAIN_FSDP) else read, pod, devices)
    row = {
        "way": way,
        "preset": name,
        "tasks": tasks,
        "baseline": PLAIN_FSDP if name == "xl" else PLAIN,
        **found._asdict(),
    }
    rows.append(row)
    console.print(f"{way}, {tasks} tasks, {time.monotonic() - started:.0f} s: {fit_text(found)}")
    console.print(plan_table([found]))


def _with_ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with what each costs as a multiple of plain data parallelism."""

    def same(row: dict[str, Any], other: dict[str, Any]) -> bool:
        return all(row[name] == other[name] for name in ("preset", "topology", "tasks"))

    columns = {
        "collective_bytes": "collective_bytes_total",
        "memory": "hbm_bytes_per_device",
        "flops": "flops_per_device",
    }
    found = []
    for row in rows:
        base = next((one for one in rows if one["way"] == row["baseline"] and same(one, row)), None)
        ratio = {
            name: round(row[column] / base[column], 4)
            for name, column in columns.items()
            if base is not None and row[column] is not None
        }
        found.append({**row, "ratio": ratio})
    return found


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
        "rows": _with_ratios(rows),
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def _draw(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    rows = [row for row in rows if row["preset"] == "large"]
    cells = sorted({(row["tasks"], row["topology"]) for row in rows})
    ways = (PLAIN, SUM, PLACED, STACKED)
    colours = ("#000000", "#56B4E9", "#009E73", "#D55E00")
    panels = (
        ("collective_bytes_total", 1e9, "GB sent by a device"),
        ("hbm_bytes_per_device", 2**30, "GiB of a device (hatched: does not fit)"),
        ("flops_per_device", 1e12, "TFLOP of a device"),
    )
    figure = Figure(figsize=(9, 7), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, unit, title) in zip(figure.subplots(3, 1, sharex=True), panels, strict=True):
        for place, (way, colour) in enumerate(zip(ways, colours, strict=True)):
            for x, (tasks, topology) in enumerate(cells):
                for row in rows:
                    if (row["way"], row["tasks"], row["topology"]) != (way, tasks, topology):
                        continue
                    if row[name] is not None:
                        axes.bar(
                            x + 0.2 * (place - 1.5),
                            row[name] / unit,
                            0.18,
                            color=colour,
                            hatch=None if row["fits"] else "//",
                            edgecolor="white",
                            linewidth=0.5,
                        )
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        axes.set_xticks(range(len(cells)), [f"{t}, T={n}" for n, t in cells])
    handles = [Patch(color=colour, label=way) for way, colour in zip(ways, colours, strict=True)]
    figure.legend(handles=handles, loc="outside upper left", ncols=4, frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
