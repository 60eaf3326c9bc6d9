"""Runs of a linear encoder whose parameters are those of a convex problem, solved to the optimum.

The width of the encoder is the number of outputs: each has a column of the encoder's tables of its
own, which its head picks. So the model is one linear model of the n-grams an output, and the run is
one like any other to whoever evaluates, predicts, compares or exports it.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from mtljax.data import MultitaskData, load_data
from mtljax.errors import NotConverged, UserError
from mtljax.kinds import KINDS
from mtljax.presets import PRESETS, Config, RegularizerConfig, differences
from mtljax.tasks import Task, loss_name
from mtljax.training.evaluation import Evaluator, score
from mtljax.training.loop import train_in_steps
from mtljax.training.model import Model, data_options
from mtljax.training.persistence import run_directory
from mtljax.training.persistence.checkpoints import checkpoint_steps
from mtljax.training.reporting.progress import notebook_console, notes_on
from mtljax.training.reporting.time_account import TimeAccount
from mtljax.training.solved.candidates import TOLERANCE, Candidate, correlation, solve_all
from mtljax.training.solved.features import (
    Columns,
    column_scales,
    encoder_columns,
    in_tables,
    scaled,
    text_features,
)
from mtljax.training.solved.outputs import LOSSES, LinearOutput, linear_outputs, output_count
from mtljax.training.starting_point import Given, Say, StartingPoint

_OF_STEPS = (
    *("steps", "epochs", "evaluate_every", "log_every", "non_finite", "seed"),
    *("loss_spikes", "spike_deviations"),
    *("mixture.", "gradients.", "stopping.", "optimizer.", "heads.dropout", "heads.tag_"),
    *("encoder.dropout", "encoder.word_dropout", "encoder.token_dropout"),
    "encoder.embedding_dropout",
)
_OF_SOLVERS = tuple(f"optimizer.{name}" for name in ("solver", "penalties", "couplings"))


def solve_run(
    config: Config,
    tasks: Sequence[Task],
    run_dir: str | Path,
    *,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    console: Console | None = None,
    account: TimeAccount,
    **options: Any,
) -> dict[str, Any]:
    """Make a run of no step whose parameters are solved for: what `optimizer.solver` asks.

    With several penalties the one with the best score on validation is taken.

    Args:
      config: of the run, with a solver.
      tasks: with one answer a text.
      run_dir: directory of the run.
      data_dir: directory of data sets in TFDS format.
      cache_dir: directory where tokenised data is kept; None for nowhere.
      console: where progress is shown.
      account: of the time.
      **options: as for `mtljax.train`.

    Returns:
      The content of `summary.json`.

    Raises:
      UserError: a setting or task that a linear model has not; and as `mtljax.train`.
      NotConverged: the solver stopped before the optimum.
    """
    directory = Path(run_dir)
    console = console or notebook_console() or Console(quiet=True)
    places: dict[str, Any] = {"data_dir": data_dir, "cache_dir": cache_dir}
    _check(config, tasks)
    given = config
    optimizer = dataclasses.replace(config.optimizer, average=0.0)
    config = dataclasses.replace(config, steps=0, epochs=0.0, optimizer=optimizer)
    # A run that was killed before its parameters were saved is solved again.
    saved = checkpoint_steps(directory / run_directory.CHECKPOINTS)
    if saved and run_directory.holds_run(directory):
        width = run_directory.read_config(directory).encoder.embedding
        config = _as_wide(config, width)
        options = {**options, "console": console, "account": account}
        return train_in_steps(config, tasks, directory, **places, **options)
    say = notes_on(console)
    if unused := _unused(given):
        many = "have" if len(unused) > 1 else "has"
        say(f"optimizer.solver takes no steps: {', '.join(unused)} {many} no effect")
    with account.spent("data"):
        read = load_data(
            tasks, data_options(config, tuple(tasks)), **places, tokenizer=config.tokenizer, say=say
        )
    width = sum(output_count(task, read) for task in tasks)

    def parameters(model: Model, data: MultitaskData) -> StartingPoint:
        with account.spent("productive"):
            return _solved(config, model, data, say)

    return train_in_steps(
        _as_wide(config, max(width, 1)),
        tasks,
        directory,
        **places,
        console=console,
        given=Given(read.tokenizer, read.outputs, parameters, read),
        account=account,
        **options,
    )


def _check(config: Config, tasks: Sequence[Task]) -> None:
    """Check that a configuration and its tasks make a linear model.

    Raises:
      UserError: naming what does not.
    """
    settings, encoder, heads = config.optimizer, config.encoder, config.heads
    where = f"optimizer.solver {settings.solver!r}"
    for name, value, wanted in (
        ("encoder.kind", encoder.kind, "linear"),
        ("encoder.dense", encoder.dense, 0),
        ("tokenizer.characters", config.tokenizer.characters, 0),
        ("encoder.from_run", encoder.from_run, ""),
        ("encoder.vectors", encoder.vectors, ""),
        ("heads.hidden", heads.hidden, 0),
        ("sharing.structure", config.sharing.structure, "hard"),
        ("weighting", config.weighting, "equal"),
        ("regularizer", config.regularizer, RegularizerConfig()),
    ):
        if value != wanted and name == "regularizer":
            raise UserError(f"{where}: has its own penalties, no {name}")
        if value != wanted:
            raise UserError(f"{where}: {name} must be {wanted!r}, got {value!r}")
    if heads.pooling not in (("root",), ("mean",)):
        raise UserError(f"{where}: heads.pooling must be 'root' or 'mean' alone")
    for name, values in (("penalties", settings.penalties), ("couplings", settings.couplings)):
        if not values:
            raise UserError(f"optimizer.{name}: give one at least")
    for task in tasks:
        kind, loss = KINDS[task.kind], loss_name(task)
        if kind.per_token or kind.writes:
            what = f"of kind {task.kind}, has no answer for a whole text"
        elif loss not in LOSSES:
            what = f"has no loss {loss!r}"
        elif task.label_smoothing:
            what = "has no label_smoothing"
        elif task.head is not None:
            what = "has no head of several tasks; solver 'together' has them share"
        else:
            continue
        raise UserError(f"{where}: task {task.name!r}: {what}")


def _unused(config: Config) -> list[str]:
    """The settings that say something else than their preset, to a run that takes no steps."""
    if config.preset not in PRESETS:
        return []
    changed = differences(PRESETS[config.preset]().config, config)
    names = (name for name in changed if not name.startswith(_OF_SOLVERS))
    return [name for name in names if name.startswith(_OF_STEPS)]


def _as_wide(config: Config, width: int) -> Config:
    """A configuration whose encoder has this width."""
    encoder = dataclasses.replace(config.encoder, embedding=width, features=width)
    return dataclasses.replace(config, encoder=encoder)


def _solved(config: Config, model: Model, data: MultitaskData, say: Say) -> StartingPoint:
    """The parameters of the penalty with the best score on validation."""
    settings = config.optimizer
    columns = encoder_columns(config.encoder, data.layout.vocab_size, _affix_rows(data))
    plain = {
        group.name: text_features(
            data.examples[group.name]["train"], columns, root=config.heads.pooling == ("root",)
        )
        for group in data.groups
    }
    scales = column_scales(list(plain.values()))
    features = {name: scaled(part, scales) for name, part in plain.items()}
    outputs = [out for task in model.tasks for out in linear_outputs(task, data, features)]
    tried = solve_all(settings, outputs, say)
    evaluator = Evaluator(model, data)
    best, kept, scores = -np.inf, None, []
    for candidate in tried:
        start = network_parameters(model, data, columns, outputs, candidate, scales)
        if len(tried) == 1:
            kept = candidate, start
            break
        values = evaluator({"shared": start.shared, "heads": start.heads}, "validation")
        if not values:
            raise UserError(
                "optimizer.penalties: no task has a target in validation to choose by; give one"
            )
        value = score(model, values)
        say(f"{settings.solver}, {_shown(candidate)}: score {value:.4f} on validation")
        scores.append({**candidate.about(), "score": value})
        if value > best:
            best, kept = value, (candidate, start)
    if kept is None:
        raise UserError("optimizer.penalties: no score on validation is finite")
    taken, start = kept
    if taken.gap > TOLERANCE:
        raise NotConverged(
            f"optimizer.solver {settings.solver!r}: after {taken.steps} steps the objective is up "
            f"to {taken.gap:.1e} of itself above its minimum, more than {TOLERANCE:.0e}, with "
            f"{_shown(taken)}; raise optimizer.solver_steps"
        )
    if len(tried) > 1:
        at_end = taken.penalty in (min(settings.penalties), max(settings.penalties))
        more = "; no penalty beyond was tried" if at_end and len(settings.penalties) > 1 else ""
        say(f"taken: {_shown(taken)}{more}")
    about = {
        "from": "solver",
        "solver": settings.solver,
        **taken.about(),
        "gap": taken.gap,
        "solver_steps": taken.steps,
        "tried": scores,
    }
    if settings.solver == "relation":
        names = [output.name for output in outputs]
        about["relation"] = {"tasks": names, "correlation": correlation(taken)}
    return start._replace(about=about)


def _affix_rows(data: MultitaskData) -> int:
    return data.layout.affix_buckets + 1 if data.layout.affix_buckets else 0


def network_parameters(
    model: Model,
    data: MultitaskData,
    columns: Columns,
    outputs: Sequence[LinearOutput],
    candidate: Candidate,
    scales: np.ndarray,
) -> StartingPoint:
    """The parameters of the network that has these models."""
    count = max(len(outputs), 1)
    weights = np.zeros((count, columns.width), np.float32)
    weights[: len(outputs)] = candidate.weights * scales
    heads: dict[str, Any] = {}
    for task in model.tasks:
        mine = [i for i, output in enumerate(outputs) if output.task is task]
        picks = np.eye(count, dtype=np.float32)[:, mine]
        bias = candidate.intercepts[mine].astype(np.float32)
        if model.network.heads[task.name].outputs == 2 and len(mine) == 1:
            # A softmax over two: the score is the difference of its logits.
            picks = np.concatenate([-picks / 2, picks / 2], axis=1)
            bias = np.concatenate([-bias / 2, bias / 2])
        heads[task.name] = {"out": {"kernel": picks, "bias": bias}}
    return StartingPoint(in_tables(weights, columns), heads, {})


def _shown(tried: Candidate) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in tried.about().items())
