"""The training loop, from tasks to a finished run directory."""

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.console import Console

from mtljax.data import MultitaskData, load_data, load_tokenizer
from mtljax.errors import Preempted, UserError
from mtljax.presets import Config, check, flatten
from mtljax.tasks import Task, dump_tasks, main_metric
from mtljax.training.distributed import Distributed, check_stages, distribute
from mtljax.training.evaluation import Evaluator, Values, score
from mtljax.training.inputs.abstract_batch import abstract_batch
from mtljax.training.inputs.aligned_streams import Streams
from mtljax.training.inputs.device_prefetch import Feed
from mtljax.training.model import Model, build_model, data_options
from mtljax.training.multihost import AgreedError, agreed, check_same, together, writes
from mtljax.training.optimizer import learning_rate_schedule, make_optimizer
from mtljax.training.persistence import run_directory
from mtljax.training.persistence.checkpoints import UNMEASURED, Checkpoints, quiet
from mtljax.training.reporting.data_overview import class_counts, describe, total_steps
from mtljax.training.reporting.metrics_file import MetricsFile, check_tensorboard
from mtljax.training.reporting.metrics_window import Window
from mtljax.training.reporting.progress import Reporter, format_value, make_reporter
from mtljax.training.reporting.summary import summarize
from mtljax.training.state import StepMetrics, TrainState, evaluated_params
from mtljax.training.update.checks import check_penalty, check_strategy
from mtljax.training.update.method import make_method
from mtljax.training.update.types import Method


def train(
    config: Config,
    tasks: Sequence[Task],
    run_dir: str | Path,
    *,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    tensorboard: bool = False,
    console: Console | None = None,
    preempted: Callable[[int], bool] = lambda step: False,
) -> dict[str, Any]:
    """Train some tasks together, or go on with a run that was cut off.

    Called again with the same arguments it ends with the parameters and metrics that an
    undisturbed run has (on the same device kind and number); a finished run is left as it is.

    Where `jax.distributed` has joined several processes, all call this with the same arguments and
    a directory that they share; the first of them writes.

    Args:
      config: the configuration.
      tasks: what to learn.
      run_dir: where the run is kept; made if need be.
      data_dir: where data sets in TFDS format lie.
      cache_dir: where tokenised data is kept for the next run; None for nowhere.
      tensorboard: write event files too.
      console: where progress is shown; None for nowhere.
      preempted: asked after every step, with its number, whether to make room; all processes must
        be told so at the same step.

    Returns:
      The content of `summary.json`.

    Raises:
      UserError: for a configuration, task, data set or directory that cannot be used, and when a
        loss is no longer finite.
      Preempted: when the state is saved after `preempted` said so.
    """
    console = console if console and writes() else Console(quiet=True)
    directory = Path(run_dir)
    tasks = tuple(tasks)
    there = together(lambda: _look(config, tasks, directory, tensorboard))
    check_same(lambda: _asked(config, tasks, there))
    if there.summary is not None:
        console.print(f"{directory}: complete, nothing to do", highlight=False)
        return there.summary
    started = time.monotonic()

    def load() -> MultitaskData:
        tokenizer = config.tokenizer
        if there.resumed:
            tokenizer = load_tokenizer(directory / run_directory.TOKENIZER)
        return load_data(
            tasks,
            data_options(config, tasks),
            data_dir=data_dir,
            tokenizer=tokenizer,
            cache_dir=cache_dir,
            say=lambda text: console.print(text, highlight=False),
        )

    data = together(load)
    check_same(lambda: _content(data))
    method = there.method
    model, steps, devices = together(lambda: _compose(config, data, method))
    together(lambda: _begin(config, tasks, directory, data, there.resumed))
    together(lambda: run_directory.check_shared(directory))
    console.print(describe(config, data, steps, time.monotonic() - started), highlight=False)
    if devices.about:
        console.print(devices.about, highlight=False)
    for name, counts in data.skipped_rows.items():
        numbers = ", ".join(f"{count} of {split}" for split, count in counts.items())
        console.print(f"warning: {name}: malformed rows left out: {numbers}", highlight=False)

    checkpoints = Checkpoints(
        directory / run_directory.CHECKPOINTS, lambda text: console.print(text, highlight=False)
    )
    try:
        with quiet():  # the threads that write, too
            summary = _run(
                config,
                model,
                data,
                method,
                devices,
                steps,
                directory,
                checkpoints,
                console,
                tensorboard,
                preempted,
            )
    except BaseException as error:
        # What is still to be written would wait for the other processes, which may be gone.
        if jax.process_count() == 1 or isinstance(error, AgreedError | Preempted):
            checkpoints.close()
        raise
    checkpoints.close()
    return summary


class _There(NamedTuple):
    resumed: bool
    summary: dict[str, Any] | None
    method: Method


def _look(config: Config, tasks: tuple[Task, ...], directory: Path, tensorboard: bool) -> _There:
    check(config)
    method = make_method(config, len(tasks))
    if tensorboard:
        check_tensorboard()
    if not run_directory.holds_run(directory):
        return _There(False, None, method)
    run_directory.check_same_run(directory, config, tasks)
    return _There(True, run_directory.read_summary(directory), method)


def _asked(config: Config, tasks: tuple[Task, ...], there: _There) -> dict[str, str]:
    settings = {name: repr(value) for name, value in flatten(config).items()}
    state = repr((there.resumed, there.summary))
    return settings | {"tasks file": dump_tasks(tasks), "state of the run directory": state}


def _content(data: MultitaskData) -> dict[str, str]:
    layout = json.dumps([data.layout.to_json(), data.stages])
    sources = {f"content of {name!r}": str(digest) for name, digest in data.fingerprints.items()}
    return {
        "layout of the data": layout,
        "tokenizer": json.dumps(data.tokenizer.to_json()),
    } | sources


def _compose(config: Config, data: MultitaskData, method: Method) -> tuple[Model, int, Distributed]:
    model = build_model(config, data.layout, class_counts(data))
    check_penalty(config, model)
    check_strategy(config, model, method)
    steps = total_steps(config, data)
    optimizer = make_optimizer(config.optimizer, steps)
    devices = distribute(config, model, method, optimizer, abstract_batch(data.layout))
    check_stages(devices, data.stages)
    return model, steps, devices


def _begin(
    config: Config, tasks: tuple[Task, ...], directory: Path, data: MultitaskData, resumed: bool
) -> None:
    if not writes():
        return
    run_directory.begin(directory)
    if resumed:
        run_directory.check_same_data(directory, data)
    else:
        run_directory.write_run(directory, config, tasks, data)


def _run(
    config: Config,
    model: Model,
    data: MultitaskData,
    method: Method,
    devices: Distributed,
    steps: int,
    directory: Path,
    checkpoints: Checkpoints,
    console: Console,
    tensorboard: bool,
    preempted: Callable[[int], bool],
) -> dict[str, Any]:
    share = devices.share
    streams = Streams(data, config, method.requires, steps, share)
    batches = Feed(streams, place=devices.place_own, share=len(share.blocks) / share.count)
    turns = data.turns(steps, config.seed)
    evaluator = Evaluator(devices.model, data, devices.place, devices.where)

    def evaluate(params: Any, split: str, **options: Any) -> Values:
        return evaluator(devices.evaluated(params), split, **options)

    try:
        first = next(batches)
        state = devices.init(first.batch)
        batches.set_state({"next_index": 0})
        done, last_line = 0, -1
        if (found := checkpoints.latest(state)) is not None:
            done, state, progress = found
            last_line = done
            batches.set_state(progress["position"])
            console.print(f"going on from step {done}", highlight=False)
        metrics_file = MetricsFile(directory, last_line, tensorboard=tensorboard, writes=writes())
        reporter = make_reporter(console, steps, done)
        window = Window(model, learning_rate_schedule(config.optimizer, steps), config, done, steps)
        try:
            state = _steps(
                config,
                devices.step,
                state,
                batches,
                done,
                steps,
                window,
                lambda number: data.epochs(turns, number),
                metrics_file,
                reporter,
                lambda number, state: _checkpoint(
                    number, state, evaluate, model, metrics_file, checkpoints, batches, reporter
                ),
                checkpoints,
                preempted,
            )
        finally:
            reporter.close()
            metrics_file.close()
    finally:
        batches.close()
    checkpoints.wait()
    found = checkpoints.best(state)
    assert found is not None
    best_step, best_state, progress = found
    test = evaluate(evaluated_params(best_state), "test", full=True)
    summary = summarize(
        config,
        model,
        window,
        steps,
        best_step,
        progress["values"],
        test,
        data.epochs(turns, steps),
        data.skipped_rows,
        data.skipped_targets,
    )
    if writes():
        run_directory.write_summary(directory, summary)
    return summary


def _steps(
    config: Config,
    step: Callable[..., tuple[TrainState, StepMetrics]],
    state: TrainState,
    batches: Feed,
    done: int,
    steps: int,
    window: Window,
    epochs: Callable[[int], dict[str, float]],
    metrics_file: MetricsFile,
    reporter: Reporter,
    checkpoint: Callable[[int, TrainState], None],
    checkpoints: Checkpoints,
    preempted: Callable[[int], bool],
) -> TrainState:
    # The metrics of a step are read after the next one was dispatched, so that the device never
    # waits for the host; at a checkpoint they are read at once.
    pending: StepMetrics | None = None

    def read(number: int, metrics: StepMetrics, due: bool) -> None:
        bad = window.add(metrics)
        if bad is not None:
            raise _not_finite(number, bad, checkpoints)
        if due or number % config.log_every == 0:
            values = window.flush(number)
            values |= {f"epoch/{task}": round(done, 4) for task, done in epochs(number).items()}
            metrics_file.write(number, "train", values)
            reporter.step(number, {**values, "seconds_left": window.seconds_left(number)})

    if steps == 0 and checkpoints.latest_step() is None:
        checkpoint(0, state)
    if done < steps and preempted(done):
        raise Preempted(_saved(checkpoints))
    for number in range(done + 1, steps + 1):
        with window.waiting():
            fed = next(batches)
        window.dispatch(fed)
        state, metrics = step(state, fed.batch, fed.extra)
        batches.refill()
        if pending is not None:
            read(number - 1, pending, due=False)
        window.count(fed)
        pending = metrics
        if _is_checkpoint(number, config, steps):
            read(number, pending, due=True)
            pending = None
            with window.pause():
                checkpoint(number, state)
        if number < steps and preempted(number):
            if pending is not None:
                read(number, pending, due=True)
                checkpoints.save(number, state, batches.get_state(), {}, UNMEASURED)
            checkpoints.wait()
            raise Preempted(_saved(checkpoints))
    return state


def _saved(checkpoints: Checkpoints) -> str:
    last = checkpoints.latest_step()
    return "nothing was to be saved yet" if last is None else f"step {last} is saved"


def _not_finite(number: int, what: str, checkpoints: Checkpoints) -> UserError:
    checkpoints.wait()
    last = checkpoints.latest_step()
    kept = "no checkpoint yet" if last is None else f"last good checkpoint: step {last}"
    return agreed(UserError(f"step {number}: {what} is not finite; stopped ({kept})"))


def _is_checkpoint(number: int, config: Config, steps: int) -> bool:
    return number % config.evaluate_every == 0 or number == steps


def _checkpoint(
    number: int,
    state: TrainState,
    evaluate: Callable[..., Values],
    model: Model,
    metrics_file: MetricsFile,
    checkpoints: Checkpoints,
    batches: Feed,
    reporter: Reporter,
) -> None:
    values = evaluate(evaluated_params(state), "validation")
    for task, found in values.items():
        if not math.isfinite(found["loss"]):
            bad = f"the validation loss of task {task!r} ({found['loss']})"
            raise _not_finite(number, bad, checkpoints)
    mean = score(model, values)
    flat = {
        f"{task}/{name}": value for task, found in values.items() for name, value in found.items()
    }
    metrics_file.write(number, "validation", {**flat, "score": mean})
    reporter.say(f"step {number}  validation  {_main_values(model, values)}")
    checkpoints.save(
        number, state, batches.get_state(), values, mean if math.isfinite(mean) else -1.0
    )


def _main_values(model: Model, values: Values) -> str:
    parts = []
    for task in model.tasks:
        if task.name in values:
            name = main_metric(task, model.layout.outputs[task.name].classes)
            shown = format_value(name, values[task.name][name])
            parts.append(f"{task.name} {name.replace('_', ' ')} {shown}")
    return "  ".join(parts)
