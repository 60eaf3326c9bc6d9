"""``mtljax evaluate``: measure a run on a split of its data."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import tyro
from rich.table import Table

from mtljax.cli.compile_cache import CompileCache, compile_cache
from mtljax.cli.options import (
    Output,
    cache_directory,
    data_directory,
    options_from,
    parse,
    print_json,
    printable,
    warn,
)
from mtljax.inference.generation_config import EVALUATION, GenerationConfig

_TEXTS = options_from(GenerationConfig, "max_tokens", "beam", "length_penalty")


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure the best checkpoint of a run on a split of its data.

    The texts of text to text are generated, greedily or by a beam search, compared with their
    references, and kept with them in RUN/generated/TASK-SPLIT.jsonl.

    Attributes:
      run: run directory.
      split: the part of the data to measure on.
      data_dir: directory of data sets, prepared or files; the environment's MTLJAX_DATA_DIR by
        default.
      cache_dir: directory of the token cache, 'off' for none; the environment's MTLJAX_CACHE_DIR or
        ~/.cache/mtljax by default.
      generate: generate the texts of text to text, and measure them.
      texts: how they are written.
      compile_cache: directory where compiled programs are kept for the next start; by default the
        environment's JAX_COMPILATION_CACHE_DIR.
      json: print one JSON object.
    """

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    split: Literal["test", "validation", "train"] = "test"
    data_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    cache_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    generate: tyro.conf.FlagCreatePairsOff[bool] = True
    texts: Annotated[GenerationConfig, tyro.conf.arg(name="", constructor=_TEXTS)] = EVALUATION
    compile_cache: CompileCache = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options = parse(Options, "evaluate", arguments)
    with compile_cache(options.compile_cache):
        return _run(options)


def _run(options: Options) -> int:
    from mtljax.inference import load_run

    loaded = load_run(options.run, warn=warn)
    values = loaded.evaluate(
        options.split,
        data_directory(options.data_dir),
        cache_directory(options.cache_dir),
        generate=options.generate,
        config=options.texts,
        say=lambda text: print(printable(text), file=sys.stderr, flush=True),
    )
    absent = [task.name for task in loaded.tasks if task.name not in values]
    if absent:
        warn(f"no target in {options.split}: {', '.join(absent)}")
    if options.json:
        print_json({"step": loaded.step, "split": options.split, "tasks": values})
    else:
        title = f"{options.split}, checkpoint of step {loaded.step}"
        Output().print(values_table(title, values))
    return 0


def values_table(title: str, values: Mapping[str, Mapping[str, float]]) -> Table:
    """A table of metric values, with a row for each metric of each task."""
    from mtljax.training.reporting.progress import format_value

    table = Table("task", "metric", title=title, title_justify="left")
    table.add_column("value", justify="right")
    for task, metrics in values.items():
        for name, value in metrics.items():
            if name != "loss" or len(metrics) == 1:
                table.add_row(task, name.replace("_", " "), format_value(name, value))
    return table
