"""``mtljax evaluate``: measure a run on a split of its data, or on a file of one's own."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

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
from mtljax.errors import UserError
from mtljax.inference.generation_config import EVALUATION, GenerationConfig

if TYPE_CHECKING:
    from mtljax.inference import Run
    from mtljax.training.evaluation import Values

_TEXTS = options_from(GenerationConfig, "max_tokens", "beam", "length_penalty")


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure the best checkpoint of a run on a split of its data, or on a file.

    The texts of text to text are generated, greedily or by a beam search, compared with their
    references, and, those of a split, kept with them in RUN/generated/TASK-SPLIT.jsonl. A file is
    read as those that the run was trained on; its labels are classes of the run.

    Attributes:
      run: run directory.
      split: the part of the data to measure on; test by default.
      input: a file with targets to measure on instead, JSON lines, a table or CoNLL by its ending.
      task: measure this task only; may be given several times.
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
    split: Literal["test", "validation", "train"] | None = None
    input: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    task: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="NAME")] = ()
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
    if options.input is not None and options.split is not None:
        raise UserError("give either --split or --input, not both")
    from mtljax.inference import load_run
    from mtljax.training.persistence.remote_run import run_to_write

    if options.input is not None:
        loaded = load_run(options.run, warn=warn)
        values = _on_file(options, loaded)
    else:
        # What is generated on a split is kept in the run.
        with run_to_write(options.run, warn, must_be=True) as directory:
            loaded = load_run(directory, warn=warn)
            values = _on_split(options, loaded)
    where = (options.split or "test") if options.input is None else options.input
    if options.json:
        print_json({"step": loaded.step, "split": where, "tasks": values})
    else:
        console = Output()
        console.print(printable(f"{where}, checkpoint of step {loaded.step}"), soft_wrap=True)
        console.print(values_table(values))
    return 0


def _on_split(options: Options, run: "Run") -> "Values":
    for name in options.task:
        run.task(name)
    split = options.split or "test"
    values = run.evaluate(
        split,
        data_directory(options.data_dir),
        cache_directory(options.cache_dir),
        generate=options.generate,
        config=options.texts,
        say=_say,
    )
    asked = options.task or [task.name for task in run.tasks]
    if absent := [name for name in asked if name not in values]:
        warn(f"no target in {split}: {', '.join(absent)}")
    return {name: of_task for name, of_task in values.items() if name in asked}


def _on_file(options: Options, run: "Run") -> "Values":
    from mtljax.inference import evaluate_file

    assert options.input is not None
    found = evaluate_file(
        run,
        options.input,
        options.task,
        generate=options.generate,
        config=options.texts,
        say=_say,
    )
    for name, why in found.lacking.items():
        warn(f"task {name!r} is not measured: {why}")
    return found.values


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)


def values_table(values: Mapping[str, Mapping[str, float]]) -> Table:
    """A table of metric values, with a row for each metric of each task."""
    from mtljax.training.reporting.progress import format_value

    table = Table("task", "metric")
    table.add_column("value", justify="right")
    for task, metrics in values.items():
        for name, value in metrics.items():
            if name != "loss" or len(metrics) == 1:
                table.add_row(task, name.replace("_", " "), format_value(name, value))
    return table
