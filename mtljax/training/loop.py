"""The training loop, from tasks to a finished run directory."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from mtljax.data import MultitaskData, load_data, load_tokenizer
from mtljax.errors import UserError
from mtljax.presets import Config, check
from mtljax.tasks import Task, main_metric
from mtljax.training import run_directory
from mtljax.training.abstract_batch import abstract_batch
from mtljax.training.checkpoints import Checkpoints
from mtljax.training.directions import Method, choose_way
from mtljax.training.distributed import Distributed, check_stages, distribute
from mtljax.training.evaluation import Evaluator, Values, score
from mtljax.training.feed import Feed
from mtljax.training.method import make_method
from mtljax.training.metrics_file import MetricsFile, check_tensorboard
from mtljax.training.model import Model, attention_of, build_model
from mtljax.training.objective import penalty
from mtljax.training.optimizer import learning_rate_schedule, make_optimizer
from mtljax.training.overview import class_counts, describe, total_steps
from mtljax.training.progress import Reporter, format_value, make_reporter
from mtljax.training.restore import initial_params
from mtljax.training.step import StepMetrics, TrainState, evaluated_params
from mtljax.training.streams import Streams
from mtljax.training.summary import summarize
from mtljax.training.window import Window


def train(
    config: Config,
    tasks: Sequence[Task],
    run_dir: str | Path,
    *,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    tensorboard: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Train some tasks together, or go on with a run that was cut off.

    Called again with the same arguments it ends with the parameters and metrics that an
    undisturbed run has (on the same device kind and number); a finished run is left as it is.

    Args:
      config: the configuration.
      tasks: what to learn.
      run_dir: where the run is kept; made if need be.
      data_dir: where data sets in TFDS format lie.
      cache_dir: where tokenised data is kept for the next run; None for nowhere.
      tensorboard: write event files too.
      console: where progress is shown; None for nowhere.

    Returns:
      The content of `summary.json`.

    Raises:
      UserError: for a configuration, task, data set or directory that cannot be used, and when a
        loss is no longer finite.
    """
    console = console or Console(quiet=True)
    directory = Path(run_dir)
    tasks = tuple(tasks)
    check(config)
    method = make_method(config, len(tasks))
    if tensorboard:
        check_tensorboard()
    resumed = run_directory.holds_run(directory)
    if resumed:
        run_directory.check_same_run(directory, config, tasks)
        if (summary := run_directory.read_summary(directory)) is not None:
            console.print(f"{directory}: complete, nothing to do", highlight=False)
            return summary
    tokenizer = config.tokenizer
    if resumed:
        tokenizer = load_tokenizer(directory / run_directory.TOKENIZER)
    started = time.monotonic()
    data = load_data(
        tasks,
        data_dir=data_dir,
        tokenizer=tokenizer,
        row_length=config.batch.row_length,
        batch_tokens=config.batch.tokens,
        row_multiple=config.batch.multiple,
        attention=attention_of(config, tasks),
        mixture=config.mixture,
        bad_rows=config.data.bad_rows,
        cache_dir=cache_dir,
        say=lambda text: console.print(text, highlight=False),
    )
    model = build_model(config, data.layout, class_counts(data))
    check_penalty(config, model)
    check_way(config, model, method)
    steps = total_steps(config, data)
    optimizer = make_optimizer(config.optimizer, steps)
    devices = distribute(config, model, method, optimizer, abstract_batch(data.layout))
    check_stages(devices, data.stages)
    run_directory.begin(directory)
    if resumed:
        run_directory.check_same_data(directory, data)
    else:
        run_directory.write_run(directory, config, tasks, data)
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
        return _run(
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
        )
    finally:
        checkpoints.close()


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
) -> dict[str, Any]:
    batches = Feed(Streams(data, config, method.requires, steps), place=devices.place)
    turns = data.turns(steps, config.seed)
    evaluator = Evaluator(devices.model, data, devices.place)

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
        metrics_file = MetricsFile(directory, last_line, tensorboard=tensorboard)
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
) -> TrainState:
    # The metrics of a step are read after the next one was dispatched, so that the device never
    # waits for the host; at a checkpoint they are read at once.
    pending: StepMetrics | None = None

    def read(number: int, metrics: StepMetrics) -> None:
        bad = window.add(metrics)
        if bad is not None:
            raise _not_finite(number, bad, checkpoints)
        if number % config.log_every == 0 or _is_checkpoint(number, config, steps):
            values = window.flush(number)
            values |= {f"epoch/{task}": round(done, 4) for task, done in epochs(number).items()}
            metrics_file.write(number, "train", values)
            reporter.step(number, {**values, "seconds_left": window.seconds_left(number)})

    if steps == 0 and checkpoints.latest_step() is None:
        checkpoint(0, state)
    for number in range(done + 1, steps + 1):
        with window.waiting():
            fed = next(batches)
        window.dispatch(fed)
        state, metrics = step(state, fed.batch, fed.extra)
        batches.refill()
        if pending is not None:
            read(number - 1, pending)
        window.count(fed)
        pending = metrics
        if _is_checkpoint(number, config, steps):
            read(number, pending)
            pending = None
            with window.pause():
                checkpoint(number, state)
    return state


def _not_finite(number: int, what: str, checkpoints: Checkpoints) -> UserError:
    checkpoints.wait()
    last = checkpoints.latest_step()
    kept = "no checkpoint yet" if last is None else f"last good checkpoint: step {last}"
    return UserError(f"step {number}: {what} is not finite; stopped ({kept})")


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


def check_penalty(config: Config, model: Model) -> None:
    """Check that the penalties of a configuration cover some of the parameters.

    Raises:
      UserError: naming the expression that is not valid, or that no path matches.
    """
    if not (config.regularizer.l2 or config.regularizer.group_lasso):
        return
    params = jax.eval_shape(lambda: initial_params(model))
    try:
        jax.eval_shape(lambda params: penalty(config.regularizer, params), params)
    except ValueError as error:
        raise UserError(f"regularizer: {error}") from None


def check_way(config: Config, model: Model, method: Method) -> None:
    """Check that gradients can be found in the way that a configuration names.

    Raises:
      UserError: naming the way and what it does not suit.
    """
    try:
        choose_way(model, method, config)
    except ValueError as error:
        raise UserError(str(error)) from None
    if config.mixture.subset and config.optimizer.accumulate > 1:
        raise UserError("mixture.subset: not with optimizer.accumulate")
    if config.mixture.subset and config.gradients.way in ("vmapped", "scanned"):
        raise UserError(f"mixture.subset: not with gradients.way {config.gradients.way!r}")
