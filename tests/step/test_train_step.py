"""The step of plain losses, against updates that NumPy computes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtljax import aggregation, weighting
from mtljax.gradients import Examples
from mtljax.regularizers import l2
from mtljax.step import Extra, Method, evaluated_params, from_encoder, from_losses, train_step
from mtljax.weighting import wrappers

CENTRES = np.array([[1.0, 0.0, 2.0], [-1.0, 1.0, 0.0], [0.5, -2.0, 1.0]], np.float32)
SCALES = np.array([1.0, 3.0, 0.5], np.float32)
START = np.array([0.3, -0.2, 0.1], np.float32)
NAMES = ("a", "b", "c")


def loss(place, params, batch):
    return SCALES[place] * jnp.sum((params["w"] - batch["centres"][place]) ** 2) / 2


LOSSES = {name: functools.partial(loss, place) for place, name in enumerate(NAMES)}
BATCH = {"centres": CENTRES}


def gradients(w, centres=CENTRES):
    """Those of the losses ``[T, 3]``, in closed form."""
    return SCALES[:, None] * (w - centres)


def one_step(method, optimizer=optax.sgd(1.0), batch=BATCH, **settings):  # noqa: B008
    step = train_step(LOSSES, method, optimizer, **settings)
    state = jax.jit(step.init)({"w": START}, batch)
    new, metrics = jax.jit(step.update)(state, batch)
    return state, new, metrics


def test_a_loss_only_weighting_moves_along_the_weighted_sum():
    weights = [1.0, 0.5, 2.0]
    _, new, metrics = one_step(weighting.fixed(weights))
    np.testing.assert_allclose(new.params["w"], START - weights @ gradients(START), rtol=1e-6)
    values = SCALES * ((START - CENTRES) ** 2).sum(1) / 2
    np.testing.assert_allclose(metrics.losses, values, rtol=1e-6)
    np.testing.assert_allclose(metrics.weights, weights)
    norm = np.linalg.norm(weights @ gradients(START))
    np.testing.assert_allclose(metrics.gradient_norm, norm, rtol=1e-6)
    assert new.step == 1 and metrics.updated == 1 and metrics.skipped == 0


def test_two_tasks_take_the_shortest_direction():
    """MGDA of two tasks has a closed form (Sener and Koltun 2018, section 3.2)."""
    step = train_step({n: LOSSES[n] for n in "ab"}, weighting.mgda(), optax.sgd(1.0))
    state, _ = jax.jit(step.update)(step.init({"w": jnp.asarray(START)}), BATCH)
    first, second = gradients(START)[:2]
    share = np.clip((second - first) @ second / np.sum((first - second) ** 2), 0, 1)
    direction = share * first + (1 - share) * second
    np.testing.assert_allclose(state.params["w"], START - direction, rtol=1e-5)


def test_weights_of_the_tasks_scale_losses_and_gradients():
    task_weights = (2.0, 1.0, 0.25)
    _, new, _ = one_step(weighting.equal(scale="sum"), task_weights=task_weights)
    expected = START - np.array(task_weights) @ gradients(START)
    np.testing.assert_allclose(new.params["w"], expected, rtol=1e-6)


@pytest.mark.parametrize("strategy", ["unrolled", "lagged", "sketched"])
def test_equal_weights_are_one_direction_by_every_strategy(strategy):
    """A method that reads the Gramian, and answers with equal weights all the same."""
    method = weighting.krum(num_byzantine=0, num_selected=3)
    _, new, _ = one_step(method, strategy=strategy)
    expected = START - gradients(START).mean(0)
    np.testing.assert_allclose(new.params["w"], expected, rtol=1e-5, atol=1e-6)


def test_accumulated_batches_make_one_update_of_their_mean():
    batches = [{"centres": CENTRES + shift} for shift in (0.0, 1.0, -3.0)]
    step = train_step(LOSSES, weighting.upgrad(), optax.sgd(1.0), accumulate=3)
    state = step.init({"w": jnp.asarray(START)}, batches[0])
    update = jax.jit(step.update)
    for number, batch in enumerate(batches):
        np.testing.assert_array_equal(state.params["w"], START)
        state, metrics = update(state, batch)
        assert metrics.updated == (number == 2)
    mean = np.mean([gradients(START, batch["centres"]) for batch in batches], axis=0)
    method = weighting.upgrad()
    weigh = jax.jit(lambda gramian: method.update(np.ones(3), method.init(3), gramian=gramian)[0])
    weights = weigh(np.float32(mean @ mean.T))
    np.testing.assert_allclose(state.params["w"], START - weights @ mean, rtol=1e-4, atol=1e-5)


def test_accumulation_needs_a_batch_to_begin():
    step = train_step(LOSSES, weighting.equal(), optax.sgd(1.0), accumulate=2)
    with pytest.raises(ValueError, match="init needs a batch"):
        step.init({"w": jnp.asarray(START)})


def test_a_moving_average_and_a_penalty():
    state, new, metrics = one_step(
        weighting.equal(), average=0.5, penalty=lambda params: 0.1 * l2(params)
    )
    gradient = gradients(START).mean(0) + 0.1 * START
    np.testing.assert_allclose(new.params["w"], START - gradient, rtol=1e-5)
    np.testing.assert_allclose(metrics.penalty, 0.1 * (START**2).sum() / 2, rtol=1e-6)
    # After the first step the average is over two states: decay (1 + 0) / (10 + 0).
    expected = 0.1 * START + 0.9 * np.asarray(new.params["w"])
    np.testing.assert_allclose(evaluated_params(new)["w"], expected, rtol=1e-6)


@pytest.mark.parametrize("non_finite", ["stop", "leave_out", "skip"])
@pytest.mark.parametrize("method", [weighting.equal(), weighting.mgda()])
def test_a_number_that_is_not_finite(non_finite, method):
    batch = {"centres": CENTRES.copy()}
    batch["centres"][1, 0] = np.nan
    _, new, metrics = one_step(method, batch=batch, non_finite=non_finite)
    np.testing.assert_array_equal(metrics.not_finite, [0, 1, 0])
    if non_finite == "stop":
        # A loss-only weighting differentiates the sum; a method of Gramians has the row apart.
        assert np.isfinite(new.params["w"]).all() == bool(method.requires - {"losses"})
    elif non_finite == "skip":
        np.testing.assert_array_equal(new.params["w"], START)
        assert metrics.skipped == 1 and new.step == 1
    else:
        assert metrics.weights[1] == 0 and np.isfinite(new.params["w"]).all()
        others = gradients(START)[[0, 2]]
        expected = START - np.asarray(metrics.weights)[[0, 2]] @ others
        np.testing.assert_allclose(new.params["w"], expected, rtol=1e-5)


def test_a_task_that_is_absent_counts_for_nothing():
    objectives = from_losses(LOSSES, present=lambda batch: batch["present"])
    step = train_step(objectives, weighting.equal(), optax.sgd(1.0))
    batch = {**BATCH, "present": jnp.array([True, False, True])}
    state, metrics = jax.jit(step.update)(step.init({"w": jnp.asarray(START)}), batch)
    np.testing.assert_allclose(metrics.weights, [0.5, 0, 0.5])
    expected = START - gradients(START)[[0, 2]].mean(0)
    np.testing.assert_allclose(state.params["w"], expected, rtol=1e-6)


def test_between_two_looks_at_the_gradients_weights_are_kept():
    step = train_step(LOSSES, wrappers.every(weighting.upgrad(), 2), optax.sgd(0.1))
    state = step.init({"w": jnp.asarray(START)})
    state, first = jax.jit(step.update)(state, BATCH)
    before = np.asarray(state.params["w"])
    state, second = jax.jit(step.update)(state, BATCH)
    np.testing.assert_allclose(second.weights, first.weights, rtol=1e-6)
    expected = before - 0.1 * np.asarray(first.weights) @ gradients(before)
    np.testing.assert_allclose(state.params["w"], expected, rtol=1e-5)


def test_random_keys_are_those_of_the_step_and_the_task():
    seen = []

    def noisy(place, params, batch, key):
        value = jax.random.normal(key)
        jax.debug.callback(lambda v: seen.append((place, float(v))), value)
        return loss(place, params, batch) + 0 * value

    losses = {name: functools.partial(noisy, place) for place, name in enumerate(NAMES)}
    step = train_step(from_losses(losses, keyed=True), weighting.equal(), optax.sgd(1.0), seed=7)
    state = step.init({"w": jnp.asarray(START)})._replace(step=jnp.int32(4))
    jax.block_until_ready(jax.jit(step.update)(state, BATCH))
    jax.effects_barrier()
    key = jax.random.fold_in(jax.random.key(7), 4)
    expected = {(i, float(jax.random.normal(jax.random.fold_in(key, i)))) for i in range(3)}
    assert set(seen) == expected


def test_signals_of_other_batches_are_supplied():
    """Losses on validation, and products with the gradients of an independent batch."""
    other = {"centres": CENTRES + 1.0}
    for method in (weighting.auto_lambda(), weighting.modo(), weighting.famo()):
        step = train_step(LOSSES, method, optax.sgd(0.1))
        state = step.init({"w": jnp.asarray(START)})
        new, metrics = jax.jit(step.update)(state, BATCH, Extra(other, other))
        assert np.isfinite(metrics.weights).all()
        rows = gradients(START)
        if "cross_gramian" in method.requires:
            rows = (rows + gradients(START, other["centres"])) / 2
        expected = START - 0.1 * np.asarray(metrics.weights) @ rows
        np.testing.assert_allclose(new.params["w"], expected, rtol=1e-4, atol=1e-6)


def test_aggregators_have_no_weights():
    _, new, metrics = one_step(aggregation.trimmed_mean(3, trim=1))
    assert metrics.weights is None
    median = np.sort(gradients(START), axis=0)[1]
    np.testing.assert_allclose(new.params["w"], START - median, rtol=1e-5)


def test_telemetry_reports_cosines_and_norms():
    _, _, metrics = one_step(weighting.equal(), telemetry=True)
    rows = gradients(START)
    norms = np.linalg.norm(rows, axis=1)
    assert metrics.gradients is not None
    np.testing.assert_allclose(metrics.gradients.norms, norms, rtol=1e-5)
    cosines = rows @ rows.T / np.outer(norms, norms)
    np.testing.assert_allclose(metrics.gradients[0], cosines, rtol=1e-4, atol=1e-6)


def test_it_compiles_once_and_frees_the_old_state():
    step = train_step(LOSSES, weighting.nash_mtl(), optax.adam(0.1), average=0.9)
    update = jax.jit(step.update, donate_argnums=0)
    state = jax.jit(step.init)({"w": jnp.asarray(START)})
    for number in range(3):
        old, (state, _) = state, update(state, BATCH)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old.params))
        assert int(state.step) == number + 1
    assert update._cache_size() == 1


def test_float64_stays_float64():
    with jax.enable_x64(True):
        step = train_step(LOSSES, weighting.mgda(), optax.sgd(0.5))
        state = step.init({"w": jnp.asarray(START, jnp.float64)})
        state, metrics = jax.jit(step.update)(state, {"centres": CENTRES.astype(np.float64)})
        assert state.params["w"].dtype == metrics.losses.dtype == jnp.float64
        expected = START - 0.5 * np.asarray(metrics.weights) @ gradients(START.astype(float))
        np.testing.assert_allclose(state.params["w"], expected, rtol=1e-12)


ENCODER_BATCH = {
    "left": Examples(np.eye(3, dtype=np.float32), {"a": np.ones(3, np.float32)}),
    "right": Examples(
        np.arange(6, dtype=np.float32).reshape(2, 3),
        {"b": np.zeros(2, np.float32), "c": np.full(2, 0.5, np.float32)},
    ),
}
ENCODER_PARAMS = {
    "shared": np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2),
    "heads": {
        name: np.array(values, np.float32)
        for name, values in {"a": [1.0, -1.0], "b": [0.5, 2.0], "c": [0.3, 0.1]}.items()
    },
}


def encode(shared, inputs):
    return jnp.tanh(inputs @ shared)


def head(params, features, targets):
    return jnp.mean((features @ params - targets) ** 2)


def test_an_encoder_and_heads_are_the_same_losses():
    """Weighted heads take the gradient of the sum, as the parameters of plain losses do."""
    objectives = from_encoder(encode, dict.fromkeys(NAMES, head))

    def of(name, group):
        def plain(params, batch):
            features = encode(params["shared"], batch[group].inputs)
            return head(params["heads"][name], features, batch[group].targets[name])

        return plain

    plain = {"a": of("a", "left"), "b": of("b", "right"), "c": of("c", "right")}
    found = []
    for one in (objectives, plain):
        step = train_step(one, Method(weighting.fixed([1.0, 0.5, 2.0])), optax.adam(0.1))
        state = step.init(ENCODER_PARAMS)
        for _ in range(3):
            state, metrics = jax.jit(step.update)(state, ENCODER_BATCH)
        found.append((state.params, metrics.losses))
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-5, atol=1e-6), found[0], found[1]
    )


@pytest.mark.parametrize("heads", ["own", "weighted"])
def test_the_gradient_that_heads_take(heads):
    objectives = from_encoder(encode, dict.fromkeys(NAMES, head))
    step = train_step(
        objectives, Method(weighting.mgda(), weighting.mgda().requires, heads), optax.sgd(1.0)
    )
    state = step.init(ENCODER_PARAMS)
    new, metrics = jax.jit(step.update)(state, ENCODER_BATCH)
    weights = np.asarray(metrics.weights)
    for i, name in enumerate(NAMES):
        group = next(g for g, rows in ENCODER_BATCH.items() if name in rows.targets)
        inputs, targets = ENCODER_BATCH[group].inputs, ENCODER_BATCH[group].targets[name]
        features = np.tanh(inputs @ np.float64(ENCODER_PARAMS["shared"]))
        error = features @ np.float64(ENCODER_PARAMS["heads"][name]) - targets
        gradient = 2 * error @ features / len(error)
        factor = 1 if heads == "own" else weights[i] * 3 / weights.sum()
        expected = ENCODER_PARAMS["heads"][name] - factor * gradient
        np.testing.assert_allclose(new.params["heads"][name], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "vmaped"}, "strategy must be one of auto, .* got 'vmaped'"),
        ({"non_finite": "ignore"}, "non_finite must be one of stop, leave_out, skip"),
        ({"accumulate": 0}, "accumulate must be at least 1, got 0"),
        ({"average": 1.0}, r"average must be in \[0, 1\), got 1.0"),
        ({"task_weights": (1.0,)}, "task_weights must have 3 entries, got 1"),
        ({"strategy": "lagged", "accumulate": 2}, "strategy 'lagged': not with accumulated"),
        ({"strategy": "sketched", "non_finite": "leave_out"}, "non_finite must be 'stop' or"),
    ],
)
def test_settings_that_cannot_be_used(settings, message):
    with pytest.raises(ValueError, match=message):
        train_step(LOSSES, weighting.mgda(), optax.sgd(1.0), **settings)


def test_losses_that_cannot_be_used():
    def run(losses, **settings):
        step = train_step(losses, weighting.mgda(), optax.sgd(1.0), **settings)
        return step.update(step.init({"w": jnp.asarray(START)}), BATCH)

    with pytest.raises(ValueError, match="losses: no tasks"):
        run({})
    with pytest.raises(ValueError, match=r"loss of task 'x' must be a scalar .* shape \(3,\)"):
        run({"x": lambda params, batch: params["w"]})
    with pytest.raises(ValueError, match="loss of task 'x' must be a scalar .* got int32"):
        run({"x": lambda params, batch: jnp.int32(1)})
    with pytest.raises(ValueError, match="'representation': needs from_encoder"):
        run(LOSSES, strategy="representation")
    with pytest.raises(ValueError, match="'scanned': plain losses are differentiated one by one"):
        run(LOSSES, strategy="scanned")
    with pytest.raises(TypeError, match="speed"):
        train_step(LOSSES, weighting.mgda(), optax.sgd(1.0), speed=3)


def encode_with_aux(shared, inputs):
    features = inputs * shared
    return features, {"mean": features.mean(0)}


def head_with_aux(params, features, targets):
    error = features @ params - targets
    return jnp.mean(error**2), {"largest": jnp.max(jnp.abs(error))}


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (weighting.equal(), {}),
        (weighting.mgda(), {"accumulate": 2}),
        (weighting.mgda(), {"strategy": "lagged"}),
        (weighting.mgda(), {"strategy": "representation"}),
        (wrappers.every(weighting.mgda(), k=2), {}),
        (aggregation.graddrop(2), {"non_finite": "leave_out"}),
    ],
)
def test_what_encoders_and_heads_return_besides_is_reported(method, settings):
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(4, 3)), rng.normal(size=(2, 4))
    batch = {"all": Examples(inputs, {"a": targets[0], "b": targets[1]})}
    ones = np.ones(3, np.float32)
    params = {"shared": ones, "heads": {"a": ones, "b": -ones}}
    heads = {"a": head_with_aux, "b": head_with_aux}
    objectives = from_encoder(encode_with_aux, heads, has_aux=True)
    plain = from_encoder(
        lambda *args: encode_with_aux(*args)[0],
        dict.fromkeys("ab", lambda *args: head_with_aux(*args)[0]),
    )
    steps = [train_step(o, method, optax.sgd(0.1), **settings) for o in (objectives, plain)]
    states = [jax.jit(step.init)(params, batch) for step in steps]
    updates = [jax.jit(step.update) for step in steps]
    for _ in range(2):
        at = states[0].params
        features = inputs * np.asarray(at["shared"])
        states, metrics = zip(
            *(u(s, batch) for u, s in zip(updates, states, strict=True)), strict=True
        )
        np.testing.assert_allclose(metrics[0].aux.groups["all"]["mean"], features.mean(0), 1e-5)
        for i, task in enumerate("ab"):
            error = features @ np.asarray(at["heads"][task]) - targets[i]
            largest = metrics[0].aux.tasks[task]["largest"]
            np.testing.assert_allclose(largest, np.abs(error).max(), 1e-5)
        # Nothing else changes.
        assert metrics[1].aux is None
        jax.tree.map(np.testing.assert_array_equal, *states)
        np.testing.assert_array_equal(metrics[0].losses, metrics[1].losses)


@pytest.mark.parametrize("method", [weighting.equal(), weighting.upgrad()])
def test_plain_losses_report_what_they_return_besides(method):
    def with_aux(params, batch):
        return jnp.sum(params["w"] ** 2), {"batch": batch}

    def without(params, batch):
        return jnp.sum(params["w"]), ()

    objectives = from_losses({"a": with_aux, "b": without}, has_aux=True)
    step = train_step(objectives, method, optax.sgd(0.1))
    _, metrics = jax.jit(step.update)(step.init({"w": jnp.ones(3)}), jnp.array(4.0))
    assert metrics.aux.tasks == {"a": {"batch": 4.0}, "b": ()} and metrics.aux.groups == {}
    with pytest.raises(ValueError, match="has_aux: the loss of task 'a' must return"):
        objectives = from_losses({"a": lambda params, batch: params["w"][0]}, has_aux=True)
        step = train_step(objectives, method, optax.sgd(0.1))
        step.update(step.init({"w": jnp.ones(3)}), None)


@pytest.mark.parametrize("leaf", [jnp.arange(2), jnp.ones(2, complex)])
def test_a_parameter_without_a_gradient_is_named(leaf):
    objectives = from_encoder(encode_with_aux, {"a": head_with_aux}, has_aux=True)
    step = train_step(objectives, weighting.equal(), optax.sgd(0.1))
    params = {"shared": jnp.ones(3), "heads": {"a": {"w": jnp.ones(3), "count": leaf}}}
    with pytest.raises(TypeError, match=f"params: leaf 'heads/a/count'.*{leaf.dtype}"):
        step.init(params)


def test_the_noise_is_that_between_a_batch_and_its_half():
    step = train_step(LOSSES, weighting.equal(), optax.sgd(1.0), telemetry=True)
    state = step.init({"w": jnp.asarray(START)}, BATCH)
    half = {"centres": CENTRES + np.array([[0.1], [-0.2], [0.3]], np.float32)}
    update = jax.jit(step.update)
    assert update(state, BATCH)[1].noise is None
    noise = update(state, BATCH, Extra(half=half))[1].noise
    differences = gradients(START) - gradients(START, half["centres"])
    np.testing.assert_allclose(noise, differences @ differences.T, rtol=2e-4, atol=1e-5)
