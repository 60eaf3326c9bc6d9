import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtljax import weighting
from mtljax.presets import RegularizerConfig
from mtljax.regularizers import l2
from mtljax.step.state import evaluated_params
from mtljax.training.objectives.model_objectives import model_objectives
from mtljax.training.optimizer import make_optimizer
from mtljax.training.step import make_step


@pytest.fixture
def plain(plain):
    """Of the linear encoder, whose programs compile in a third of the time."""
    encoder = dataclasses.replace(plain.encoder, kind="linear", ngram_buckets=32)
    return dataclasses.replace(plain, encoder=encoder)


@pytest.fixture
def begin(make, plain, drawn):
    """A jitted step, the first state and an iterator over batches."""

    def run(config=plain, method=None, optimizer=None, **kwargs):
        method = method or weighting.equal(scale="sum")
        optimizer = optimizer or make_optimizer(config.optimizer, config.steps)
        model, data = make(config, **kwargs)
        batches = data.training_batches(config.seed)
        first = next(batches)
        made = make_step(model, method, optimizer, config)
        state = jax.jit(made.init)(first)
        batches.set_state({"next_index": 0})
        return model, jax.jit(made.update), state, batches

    return run


def without_average(config, **kwargs):
    return dataclasses.replace(
        config, optimizer=dataclasses.replace(config.optimizer, average=0.0, **kwargs)
    )


def assert_close(a, b, rtol=1e-4, atol=1e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def weigh_task(tasks, name, weight):
    return tuple(dataclasses.replace(t, weight=weight) if t.name == name else t for t in tasks)


def test_a_step_is_the_gradient_of_the_weighted_sum(begin, plain, tasks):
    config = dataclasses.replace(without_average(plain), regularizer=RegularizerConfig(l2=0.3))
    chosen = weigh_task([tasks[n] for n in ("label", "grade", "number")], "grade", 3.0)
    method = weighting.fixed([1.0, 0.5, 2.0])
    model, step, state, batches = begin(config, method, optax.sgd(1.0), tasks=chosen)
    batch = next(batches)
    key = jax.random.fold_in(jax.random.key(config.seed), 0)

    @jax.jit
    def reference(params):
        def objective(params):
            losses = model_objectives(model).losses(params, batch, key)
            kernels = [
                leaf
                for path, leaf in jax.tree_util.tree_leaves_with_path(params)
                if "kernel" in jax.tree_util.keystr(path)
            ]
            total = losses[0] + 0.5 * 3.0 * losses[1] + 2.0 * losses[2]
            return total + 0.3 * l2(kernels), losses

        return jax.grad(objective, has_aux=True)(params)

    gradient, losses = reference(state.params)
    new, metrics = step(state, batch)
    assert_close(new.params, jax.tree.map(lambda p, g: p - g, state.params, gradient))
    np.testing.assert_allclose(metrics.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(metrics.weights, [1.0, 0.5, 2.0])
    np.testing.assert_array_equal(metrics.present, 1)
    np.testing.assert_allclose(metrics.gradient_norm, optax.tree.norm(gradient), rtol=1e-4)
    assert new.step == 1 and new.average is None


def test_weights_of_samples_act(begin, plain, tasks):
    model, step, state, batches = begin(without_average(plain), tasks=(tasks["grade"],))
    batch = next(batches)
    weights = batch["tiny"]["weights"]["grade"]
    rows, segments = np.nonzero(weights)
    one = np.zeros_like(weights)
    one[rows[0], segments[0]] = weights[rows[0], segments[0]]
    alone = {"tiny": {**batch["tiny"], "weights": {"grade": one}}}
    doubled = {"tiny": {**batch["tiny"], "weights": {"grade": 2 * weights}}}
    first, only, same = (step(state, b)[1].losses for b in (batch, alone, doubled))
    np.testing.assert_allclose(same, first, rtol=1e-5)  # a mean: the scale is of no account
    assert not np.allclose(only, first, rtol=1e-3)


def test_an_absent_task_gets_no_weight(begin, plain, tasks):
    chosen = (tasks["label"], tasks["number"])
    method = weighting.uncertainty()
    _, step, state, batches = begin(without_average(plain), method, optax.sgd(1.0), tasks=chosen)
    batch = next(batches)
    none = {**batch["tiny"]["weights"], "label": np.zeros_like(batch["tiny"]["weights"]["label"])}
    new, metrics = step(state, {"tiny": {**batch["tiny"], "weights": none}})
    np.testing.assert_array_equal(metrics.weights, [0, 1])
    np.testing.assert_array_equal(metrics.present, [0, 1])
    assert metrics.losses[0] == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(new))
    assert_equal(new.params["heads"]["label"], state.params["heads"]["label"])
    moved = new.optimizer.weighting.log_variance
    assert moved[0] == 0 and moved[1] != 0


def test_randomness_comes_from_the_step_number_alone(begin, config, tasks):
    _, step, state, batches = begin(config, tasks=(tasks["label"], tasks["next"]))
    batch = next(batches)
    first, metrics = step(state, batch)
    again, repeated = step(state, batch)
    assert_equal(first, again)
    assert_equal(metrics, repeated)
    _, later = step(state._replace(step=jnp.int32(1)), batch)
    assert not np.array_equal(metrics.losses, later.losses)


def test_one_compilation_and_donated_buffers(make, config, tasks):
    model, data = make(config, (tasks["label"], tasks["tags"]))
    batches = data.training_batches(0)
    method, optimizer = weighting.random(), make_optimizer(config.optimizer, 5)
    made = make_step(model, method, optimizer, config)
    state = jax.jit(made.init)(next(batches))
    step = jax.jit(made.update, donate_argnums=0)
    for number in range(1, 5):
        old = state
        state, _ = step(state, next(batches))
        assert int(state.step) == number
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old.params))
    assert step._cache_size() == 1


def test_accumulation_moves_parameters_each_kth_step(begin, plain, tasks):
    config = without_average(plain, accumulate=3, warmup_steps=0)
    _, step, state, batches = begin(config, tasks=(tasks["label"],))
    for number in range(1, 7):
        new, _ = step(state, next(batches))
        same = jax.tree.all(jax.tree.map(jnp.array_equal, new.params, state.params))
        assert same == (number % 3 != 0)
        state = new


def test_moving_average(begin, plain, tasks):
    config = dataclasses.replace(
        plain, optimizer=dataclasses.replace(plain.optimizer, average=0.4, learning_rate=0.1)
    )
    _, step, state, batches = begin(config, tasks=(tasks["label"],))
    assert_equal(state.average, state.params)
    expected = state.params
    for number in range(7):
        state, _ = step(state, next(batches))
        decay = min(0.4, (1 + number) / (10 + number))
        expected = jax.tree.map(
            lambda a, p, decay=decay: decay * a + (1 - decay) * p, expected, state.params
        )
        assert_close(state.average, expected, rtol=1e-5)
    assert evaluated_params(state) is state.average
    assert evaluated_params(state._replace(average=None)) is state.params


def test_rows_over_eight_devices_give_the_same_step(on_eight_devices):
    printed = on_eight_devices("""
import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from mtljax import weighting
from mtljax.data import DataOptions, all_causal, load_data
from mtljax.modules import EncoderConfig, HeadsConfig
from mtljax.presets import Config
from mtljax.tasks import Task
from mtljax.training.reporting.data_overview import class_counts
from mtljax.training.model import build_model
from mtljax.training.optimizer import make_optimizer
from mtljax.training.step import make_step

tasks = (Task("label", "amazon_sentiment", "classification", "text", "label"),)
config = Config(encoder=EncoderConfig("linear", embedding=8, ngram_buckets=64, dropout=0.3,
                                      embedding_dropout=0.2, word_dropout=0.2),
                heads=HeadsConfig(dropout=0.2))
data = load_data(tasks, DataOptions(row_length=12, batch_tokens=16 * 12, attention=all_causal))
model = build_model(config, data.layout, class_counts(data))
method, optimizer = weighting.uncertainty(), make_optimizer(config.optimizer, 10)
batches = data.training_batches(0, ahead=0)
some = [next(batches) for _ in range(3)]
made = make_step(model, method, optimizer, config)
init, step = jax.jit(made.init), jax.jit(made.update, donate_argnums=0)
mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))

def run(rows, whole):
    state = jax.device_put(init(some[0]), whole)
    for batch in some:
        state, metrics = step(state, jax.device_put(batch, rows))
    return state, metrics

one = run(jax.devices()[0], jax.devices()[0])
eight = run(NamedSharding(mesh, P("data")), NamedSharding(mesh, P()))
tokens = jax.device_put(some[0], NamedSharding(mesh, P("data")))["amazon_sentiment"]["tokens"]
assert len(tokens.sharding.device_set) == 8 and tokens.addressable_shards[0].data.shape[0] == 2
jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5), *(
    jax.device_get(x) for x in (one, eight)))
print(len(jax.devices()), int(eight[0].step))
""")
    assert printed == "8 3\n"
