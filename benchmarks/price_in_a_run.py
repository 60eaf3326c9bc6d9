"""What does gradient balancing cost in a run: the step of `mtljax train` over that of `equal`?

The presets `small` and `linear` on the text in the package, and sixteen sentiment tasks with
batches of their own (FDU-MTL: 8,192 tokens a step in rows of 128), by a linear encoder, an LSTM, a
transformer, and a frozen one of which low-rank updates are trained. The data of the sixteen are
looked for in `--fdu`, a directory with `TASK/train.jsonl` for each of them; without it they are
left out. With `--pretrained`, a directory in Hugging Face's layout, also a fine-tuned model of its
shape with eight of these tasks, 4,096 tokens a step; with `--torch`, the Python of an environment
that has PyTorch and transformers, beside the step of the same model, heads and rows there.

    python benchmarks/price_in_a_run.py --fdu DIR --json benchmarks/results/price_in_a_run.json

Steps are those of the run in full (optimizer, clipping, moving average) on batches that are already
there, all methods of a run in turn, in one process; on a CPU, pin it to a core: `taskset -c 0`.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from mtljax.data import load_data
from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.presets import Config, preset
from mtljax.tasks import Task, parse_tasks
from mtljax.training import build_model, make_optimizer, make_step
from mtljax.training.inputs.aligned_streams import AlignedStreams
from mtljax.training.method import make_method
from mtljax.training.model import data_options
from mtljax.training.objectives.device_layout import DeviceLayout
from mtljax.training.passes import passes_of
from mtljax.training.pretrained_start import resolved
from mtljax.training.reporting.data_overview import class_counts
from mtljax.versions import versions

METHODS = ("equal", "upgrad", "mgda")
BATCHES = 8
PRETRAINED = "FDU-MTL, eight tasks, pretrained"


def runs(
    fdu: Path | None, pretrained: Path | None = None
) -> dict[str, tuple[Config, tuple[Task, ...]]]:
    """Configurations and tasks by name."""
    found = {}
    for name in ("small", "linear"):
        start = preset(name)
        found[name] = (start.config, start.tasks)
    if fdu is None:
        return found
    tasks = fdu_tasks(fdu)
    small, linear = preset("small").config, preset("linear").config
    transformer = dataclasses.replace(
        small, encoder=dataclasses.replace(small.encoder, kind="transformer")
    )
    for name, config in (("linear", linear), ("LSTM", small), ("transformer", transformer)):
        batch = dataclasses.replace(config.batch, tokens=8192, row_length=128)
        found[f"FDU-MTL, {name}"] = (dataclasses.replace(config, batch=batch), tasks)
    # The step costs the same whatever the frozen numbers are.
    encoder = EncoderConfig("transformer", 256, 256, layers=4, heads=4, feed_forward=1024)
    found["FDU-MTL, frozen transformer with LoRA"] = (
        dataclasses.replace(
            small,
            batch=dataclasses.replace(small.batch, tokens=8192, row_length=128),
            encoder=encoder,
            sharing=SharingConfig("lora", freeze="yes"),
        ),
        tasks,
    )
    if pretrained is not None:
        config = preset("finetune").config
        config = dataclasses.replace(
            config,
            batch=dataclasses.replace(config.batch, tokens=4096),
            encoder=dataclasses.replace(config.encoder, pretrained=str(pretrained)),
        )
        found[PRETRAINED] = (resolved(config), tasks[:8])
    return found


def torch_step(python: str, pretrained: Path, rounds: int) -> dict[str, float]:
    """What a step of the pretrained model's shape takes in PyTorch, a process of its own."""
    request = {"pretrained": str(pretrained), "tasks": 8, "rows": 4, "length": 128}
    place = Path(__file__).parent / "peers" / "hf_step.py"
    command = [python, "-W", "ignore", str(place), json.dumps(request | {"rounds": rounds})]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds = json.loads(answer.stdout.splitlines()[-1])["seconds"]
    return {"milliseconds": round(1e3 * statistics.median(seconds), 2)}


def fdu_tasks(directory: Path) -> tuple[Task, ...]:
    """A sentiment task for each folder."""
    names = sorted(path.parent.name for path in directory.glob("*/train.jsonl"))
    splits = {"train": "train.jsonl", "validation": "validation.jsonl"}
    kind = {"kind": "classification", "inputs": "text", "targets": "label"}
    return parse_tasks(
        {
            "sources": {
                name: {"path": str((directory / name).resolve()), "splits": splits}
                for name in names
            },
            "tasks": {name: {"dataset": name, **kind} for name in names},
        }
    )


def measure(
    config: Config, tasks: tuple[Task, ...], methods: list[str], rounds: int, say: Any
) -> dict[str, dict[str, float]]:
    """Seconds of a step of each method, and what it takes to compile and to hold."""
    data = load_data(tasks, data_options(config, tasks), tokenizer=config.tokenizer)
    model = build_model(config, data.layout, class_counts(data))
    optimizer = make_optimizer(config.optimizer, config.steps or 1000)
    streams = AlignedStreams(data, config, frozenset())
    batches = [jax.device_put(next(streams)[0]) for _ in range(BATCHES)]
    streams.close()
    compiled, states, found = {}, {}, {}
    for name in methods:
        chosen = dataclasses.replace(config, weighting=name)
        method = make_method(chosen, len(tasks))
        passes, _ = passes_of(chosen, model, method, jax.devices()[:1])
        made = make_step(model, method, optimizer, chosen, DeviceLayout(passes=passes))
        states[name] = jax.jit(made.init)(batches[0])
        step = jax.jit(made.update, donate_argnums=0)
        began = time.perf_counter()
        traced = step.trace(states[name], batches[0])
        trace_seconds = time.perf_counter() - began
        compiled[name] = traced.lower().compile()
        memory: Any = compiled[name].memory_analysis()
        found[name] = {
            "trace_seconds": round(trace_seconds, 2),
            "compile_seconds": round(time.perf_counter() - began, 2),
            "temporary_megabytes": round(memory.temp_size_in_bytes / 1e6, 1),
        }
        say(f"{name}: {found[name]}")
    # Other processes on the machine do not count in a processor's own time.
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for turn in range(rounds + 1):
        for name in methods:
            state, began = states[name], clock()
            for batch in batches:
                state, _ = compiled[name](state, batch)
            states[name] = jax.block_until_ready(state)
            if turn:
                seconds[name].append((clock() - began) / len(batches))
    for name in methods:
        ratios = [a / b for a, b in zip(seconds[name], seconds[methods[0]], strict=True)]
        found[name] |= {
            "milliseconds": round(1e3 * statistics.median(seconds[name]), 2),
            "over_equal": round(statistics.median(ratios), 3),
        }
    return found


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fdu", type=Path, help="directory of FDU-MTL, a folder a task")
    parser.add_argument("--pretrained", type=Path, help="directory of a pretrained model")
    parser.add_argument("--torch", help="Python of an environment with PyTorch and transformers")
    parser.add_argument("--only", nargs="+", help="names of runs")
    parser.add_argument("--methods", nargs="+", default=METHODS, help="the first is the baseline")
    parser.add_argument("--rounds", type=int, default=5, help=f"of {BATCHES} steps each")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.fdu is not None and not any(arguments.fdu.glob("*/train.jsonl")):
        parser.error(f"--fdu {arguments.fdu}: no TASK/train.jsonl")
    console = Console()
    rows = []
    for run, (config, tasks) in runs(arguments.fdu, arguments.pretrained).items():
        if arguments.only and run not in arguments.only:
            continue
        console.print(run)
        found = measure(config, tasks, arguments.methods, arguments.rounds, console.print)
        if run == PRETRAINED and arguments.torch:
            theirs = torch_step(arguments.torch, arguments.pretrained, BATCHES)
            ours = found[arguments.methods[0]]["milliseconds"]
            over = round(theirs["milliseconds"] / ours, 3)
            found["the first, in PyTorch"] = theirs | {"over_equal": over}
        for method, figures in found.items():
            row = {"run": run, "tasks": len(tasks), "method": method, **figures}
            rows.append(row | {"baseline": arguments.methods[0]})
    if arguments.fdu is None:
        console.print("FDU-MTL is left out: name its directory with --fdu")
    columns = [key for key in rows[0] if key != "baseline"]
    table = Table(*(key.replace("_", " ") for key in columns))
    for row in rows:
        table.add_row(*(str(row.get(key, "")) for key in columns))
    console.print(table)
    if arguments.json:
        device = jax.devices()[0].device_kind
        answer = {"versions": versions(), "device": device, "rows": rows}
        arguments.json.write_text(json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    main()
