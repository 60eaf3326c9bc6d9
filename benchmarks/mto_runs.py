"""Training runs of one method that share their compiled step: rate, weights and seed are data."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from mto_suites import Loaded

from mtljax.presets import OptimizerConfig
from mtljax.step import Method, TrainState, evaluated_params
from mtljax.studies.text_states import TextStates, states_of_model
from mtljax.training import make_step
from mtljax.training.evaluation import Evaluator, score
from mtljax.training.inputs.aligned_streams import AlignedStreams
from mtljax.training.method import make_method
from mtljax.training.objectives.device_layout import DeviceLayout
from mtljax.training.optimizer import learning_rate_schedule
from mtljax.training.parameter_rates import decayed
from mtljax.training.passes import passes_of
from mtljax.weighting import Weighting

STATIC = "static"
"""Weights that stay as they are given, one of them 1 / T for each task."""


class Setting(NamedTuple):
    """What differs between runs of one method."""

    rate: float
    seed: int
    weights: tuple[float, ...] = ()


class Trained(NamedTuple):
    """A finished run.

    Attributes:
      score: on validation, of the best evaluation.
      step: of that.
      milliseconds: of a step, processor time.
      test: the main metric of each task, text by text, of those parameters.
    """

    score: float
    step: int
    milliseconds: float
    test: dict[str, TextStates]


def trainer(loaded: Loaded, method: str) -> tuple[Callable[[Setting], Trained], float]:
    """Compile the step of a method once.

    Returns:
      What trains with a setting, and the megabytes of temporary memory that a step takes.
    """
    model, data = loaded.model, loaded.data
    config = dataclasses.replace(
        loaded.config, weighting="equal" if method == STATIC else method, weighting_options={}
    )
    rule = make_method(config, len(model.tasks))
    if method == STATIC:
        rule = Method(_given())
    optimizer = _optimizer(config.optimizer, config.steps)
    passes, _ = passes_of(config, model, rule, jax.devices()[:1])
    layout = DeviceLayout(passes=passes)

    def begin(seed: int | jax.Array, batch: Any) -> TrainState:
        return make_step(model, rule, optimizer, config, layout, seed=seed).init(batch)

    def update(seed: int | jax.Array, state: TrainState, batch: Any, extra: Any) -> Any:
        step = make_step(model, rule, optimizer, config, layout, seed=seed)
        return step.update(state, batch, extra)

    def streams(seed: int) -> AlignedStreams:
        seeded = dataclasses.replace(config, seed=seed)
        return AlignedStreams(data, seeded, rule.requires, data.schedule(config.steps, seed))

    first = next(streams(0))
    init = jax.jit(begin)
    state = init(0, first[0])
    program = jax.jit(update, donate_argnums=1).lower(0, state, *first[:2]).compile()
    memory: Any = program.memory_analysis()
    evaluator = Evaluator(model, data)

    def train(setting: Setting) -> Trained:
        batches = streams(setting.seed)
        inputs = next(batches)
        state = _with(init(setting.seed, inputs[0]), setting)
        best, best_step, kept, spent = -np.inf, 0, None, 0.0
        for number in range(1, config.steps + 1):
            began = time.process_time()
            state, metrics = program(setting.seed, state, *inputs[:2])
            jax.block_until_ready(metrics)
            spent += time.process_time() - began
            if number % config.evaluate_every == 0:
                params = evaluated_params(state)
                value = score(model, evaluator(params, "validation"))
                if np.isfinite(value) and value > best:
                    best, best_step, kept = value, number, jax.tree.map(np.asarray, params)
            if number < config.steps:
                inputs = next(batches)
        batches.close()
        if kept is None:
            return Trained(float("nan"), 0, 1e3 * spent / config.steps, {})
        test = states_of_model(model, kept, data, "test")
        return Trained(best, best_step, 1e3 * spent / config.steps, test)

    return train, memory.temp_size_in_bytes / 1e6


def _given() -> Weighting:
    """Weights that are the state."""

    def init(num_tasks: int) -> jax.Array:
        return jnp.full(num_tasks, 1 / num_tasks)

    def update(losses: jax.Array, state: jax.Array, **signals: Any) -> tuple[jax.Array, jax.Array]:
        del losses, signals
        return state, state

    return Weighting(init, update, frozenset({"losses"}), True)


def _optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """That of a run, with the height of the learning rate in its state, last."""
    of_one = dataclasses.replace(config, learning_rate=1.0)
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.scale_by_adam(config.b1, config.b2),
        optax.add_decayed_weights(config.weight_decay, decayed),
        optax.scale_by_schedule(learning_rate_schedule(of_one, steps)),
        optax.inject_hyperparams(optax.scale)(step_size=-1.0),
    )


def _with(state: TrainState, setting: Setting) -> TrainState:
    *before, scaled = state.optimizer.optimizer
    rate = jnp.asarray(-setting.rate, jnp.asarray(scaled.hyperparams["step_size"]).dtype)
    scaled = scaled._replace(hyperparams={**scaled.hyperparams, "step_size": rate})
    rule = jnp.asarray(setting.weights) if setting.weights else state.optimizer.weighting
    optimizer = state.optimizer._replace(weighting=rule, optimizer=(*before, scaled))
    return state._replace(optimizer=optimizer)
