"""How fast do batches come from disk to the device, and does a training step ever wait for them?

For each set of tasks: tokens a second of batches alone, by the thread and by 1 and 2 worker
processes; the share of positions that is real; the time to the first batch, cold (nothing cached)
and cached; memory. Then, for each preset, the tokens a second that its steps consume, with the
batches alone as baseline, and the share of their time spent waiting. The last set is made up, of as
many rows as wished, which must stream in bounded memory. Each measurement has a process of its own;
memory is what that holds of its own (anonymous pages), sampled.

    python benchmarks/data_pipeline.py --data-dir DATA --json benchmarks/results/data_pipeline.json
"""

import argparse
import dataclasses
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from mtljax.data import DataOptions, MultitaskData, all_causal, load_data
from mtljax.presets import PRESETS, preset
from mtljax.tasks import DEFAULT_TASKS, Task, load_tasks
from mtljax.training import train
from mtljax.versions import versions

ROOT = Path(__file__).resolve().parent.parent
FIVE = ROOT / "docs" / "recipes" / "five.yaml"
SECONDS = 8.0
STEPS = {"small": 120, "linear": 400, "textbook": 120}
WORDS = 20_000
MADE_UP = """\
sources:
  rows: {splits: {train: train.jsonl, validation: validation.jsonl}}
tasks:
  rows: {dataset: rows, kind: classification, inputs: text, targets: label}
"""


def made_up(directory: Path, rows: int) -> Path:
    """The tasks file of rows of 4 to 16 words, drawn by Zipf's law with a fixed seed."""
    draw = random.Random(0)
    words = [f"w{i:x}" for i in range(WORDS)]
    chances = [1 / (i + 10) for i in range(WORDS)]
    pool = draw.choices(words, chances, k=1 << 20)
    for split, count in (("train", rows), ("validation", 1000)):
        with (directory / f"{split}.jsonl").open("w") as file:
            for _ in range(count):
                at, length = draw.randrange((1 << 20) - 16), draw.randint(4, 16)
                text = " ".join(pool[at : at + length])
                file.write(f'{{"text": "{text}", "label": "{pool[at][1]}"}}\n')
    tasks = directory / "tasks.yaml"
    tasks.write_text(MADE_UP)
    return tasks


class Memory:
    """Samples the most anonymous memory that this process holds, in megabytes."""

    def __init__(self) -> None:
        """Begin to sample."""
        self.most = 0.0
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self) -> None:
        while True:
            status = Path("/proc/self/status")
            if status.exists():
                lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
                self.most = max(self.most, int(lines["RssAnon"].split()[0]) / 1024)
            time.sleep(0.05)


def tasks_of(name: str, place: str) -> tuple[Task, ...]:
    """The tasks of a set by its name."""
    if name == "default":
        return DEFAULT_TASKS
    return load_tasks(FIVE) if name == "five" else load_tasks(place)


def measure(given: dict[str, Any]) -> dict[str, Any]:
    """One measurement, in this process."""
    memory = Memory()
    if "preset" in given:
        return measure_preset(given)
    began = time.perf_counter()
    data = load_data(
        tasks_of(given["set"], given["place"]),
        DataOptions(attention=all_causal),
        data_dir=given["data_dir"],
        cache_dir=given["cache"],
    )
    ready = time.perf_counter() - began
    batches = data.training_batches(0, workers=given["workers"], ahead=4)
    jax.block_until_ready(jax.device_put(next(batches)))
    first = time.perf_counter() - began
    return {
        "seconds_to_data": round(ready, 2),
        "seconds_to_first_batch": round(first, 2),
        **throughput(data, batches),
        "megabytes": round(memory.most),
    }


def throughput(data: MultitaskData, batches: Any) -> dict[str, Any]:
    """Tokens a second of batches alone, on the device."""
    for _ in range(8):
        next(batches)
    tokens = positions = count = 0
    began = time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        batch = next(batches)
        tokens += sum(int((rows["segments"] > 0).sum()) for rows in batch.values())
        positions += sum(rows["segments"].size for rows in batch.values())
        jax.block_until_ready(jax.device_put(batch))
        count += 1
    seconds = time.perf_counter() - began
    batches.close()
    return {
        "tokens_per_second": round(tokens / seconds),
        "real_share": round(tokens / positions, 4),
        "milliseconds": round(1000 * seconds / count, 3),
        "tokens": sum(int(splits["train"].starts[-1]) for splits in data.examples.values()),
    }


def measure_preset(given: dict[str, Any]) -> dict[str, Any]:
    """Tokens a second of a preset's training steps, and how much of their time they waited."""
    start = preset(given["preset"])
    steps = STEPS[given["preset"]]
    config = dataclasses.replace(start.config, steps=steps, epochs=0.0, evaluate_every=steps)
    with tempfile.TemporaryDirectory() as directory:
        summary = train(config, start.tasks, Path(directory) / "run", cache_dir=given["cache"])
    return {
        "tokens_per_second": summary["tokens_per_second"],
        "data_wait_share": summary["data_wait_share"],
        "real_share": summary["real_token_share"],
    }


def in_a_process(**given: Any) -> dict[str, Any]:
    """Runs `measure` in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", json.dumps(given)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def measure_set(
    name: str, place: str, data_dir: str | None, directory: Path
) -> list[dict[str, Any]]:
    """The rows of one set of tasks: cold by the thread, then cached by thread and processes."""
    rows = []
    baseline = None
    for cached, workers in ((False, 0), (True, 0), (True, 1), (True, 2)):
        found = in_a_process(
            set=name,
            place=place,
            data_dir=data_dir,
            workers=workers,
            cache=str(directory / f"cache-{name}"),
        )
        baseline = baseline or found["tokens_per_second"]
        row = {"set": name, "cached": cached, "workers": workers, **found}
        rows.append({**row, "baseline": "thread", "ratio": found["tokens_per_second"] / baseline})
    return rows


def main() -> None:
    """Measure, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--data-dir")
    parser.add_argument("--rows", type=int, default=10_000_000, help="made-up rows; 0 for none")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(json.loads(arguments.measure))))
        return
    console = Console()
    table = Table("tasks", "batches by", "to first batch, s", "tokens/s", "real", "MB")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        directory = place = Path(name)
        sets = ["default", *(["five"] if arguments.data_dir else [])]
        if arguments.rows:
            place = made_up(directory, arguments.rows)
            sets.append("made up")
        for name in sets:
            rows += measure_set(name, str(place), arguments.data_dir, directory)
            for row in rows[-4:]:
                by = f"{row['workers']} processes" if row["workers"] else "thread"
                table.add_row(
                    name,
                    f"{by}, {'cached' if row['cached'] else 'cold'}",
                    f"{row['seconds_to_first_batch']:.1f}",
                    f"{row['tokens_per_second']:,}",
                    f"{row['real_share']:.3f}",
                    f"{row['megabytes']:,}",
                )
        for name in PRESETS:
            found = in_a_process(preset=name, cache=str(directory / "cache-default"))
            alone = next(r for r in rows if r["set"] == "default" and r["cached"])
            rows.append(
                {
                    "preset": name,
                    **found,
                    "baseline": "batches of the default tasks alone, by the thread",
                    "ratio": found["tokens_per_second"] / alone["tokens_per_second"],
                }
            )
            table.add_row(
                f"steps of {name}",
                f"waiting {100 * found['data_wait_share']:.2f} %",
                "",
                f"{found['tokens_per_second']:,.0f}",
                f"{found['real_share']:.3f}",
                "",
            )
    console.print(table)
    result = {
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "versions": versions(),
        "shape": {"batch_tokens": 4096, "row_length": 64, "rows": arguments.rows},
        "rows": rows,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
