import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from mtljax import metrics

every_jit = pytest.mark.parametrize("jit", [False, True])


def data(rng, n=60):
    return (
        rng.integers(4, size=n),
        rng.integers(4, size=n),
        rng.integers(0, 3, size=n).astype(np.float32),
    )


def run(f, jit, *arguments):
    return float(metrics.compute((compiled(f) if jit else f)(*arguments)))


compiled = functools.cache(jax.jit)


@every_jit
def test_accuracy_equals_sklearn(rng, jit):
    answers, labels, weights = data(rng)
    expected = sklearn_metrics.accuracy_score(labels, answers, sample_weight=weights)
    assert run(metrics.accuracy, jit, answers, labels, weights) == pytest.approx(expected)
    expected = sklearn_metrics.accuracy_score(labels, answers)
    assert run(metrics.accuracy, jit, answers, labels) == pytest.approx(expected)
    assert run(metrics.accuracy, jit, answers > 1, labels > 1) == pytest.approx(
        np.mean((answers > 1) == (labels > 1))
    )


def test_micro_f1_equals_sklearn(rng):
    answers, labels, weights = data(rng)
    expected = sklearn_metrics.f1_score(
        labels, answers, labels=[1, 2, 3], average="micro", sample_weight=weights
    )
    assert run(metrics.micro_f1, True, answers, labels, weights) == pytest.approx(expected)


def test_micro_f1_without_an_outside_tag_is_accuracy(rng):
    answers, labels, _ = data(rng)
    assert metrics.compute(micro_f1(answers, labels, outside=-1)) == pytest.approx(
        np.mean(answers == labels)
    )


@pytest.mark.parametrize(("weighted", "jit"), [(False, True), (True, True), (True, False)])
def test_metrics_of_label_sets_equal_sklearn(rng, jit, weighted):
    answers, labels = rng.integers(0, 2, (2, 40, 5))
    answers[:, 3] = labels[:, 3] = 0  # a class that nobody has
    labels[:9] = answers[:9]
    weights = rng.integers(0, 3, 40).astype(np.float32) if weighted else None
    expected = sklearn_metrics.f1_score(
        labels, answers, average="macro", sample_weight=weights, zero_division=0
    )
    arguments = (answers, labels, weights) if weighted else (answers, labels)
    assert run(metrics.macro_f1, jit, *arguments) == pytest.approx(expected)
    expected = sklearn_metrics.accuracy_score(labels, answers, sample_weight=weights)
    assert run(metrics.exact_match, jit, *arguments) == pytest.approx(expected)
    grid = [np.reshape(x, (8, 5, *np.shape(x)[1:])) for x in arguments]
    assert run(metrics.exact_match, jit, *grid) == pytest.approx(expected)


def test_label_sets_of_wrong_shapes():
    sets = np.zeros((3, 2), int)
    for metric in (metrics.macro_f1, metrics.exact_match):
        with pytest.raises(TypeError, match="predictions must be class ids"):
            metric(sets.astype(float), sets)
        with pytest.raises(ValueError, match="targets must have the shape"):
            metric(sets, sets[:2])
        with pytest.raises(ValueError, match="targets without classes"):
            metric(sets, sets, sets)
        with pytest.raises(ValueError, match="class axis"):
            metric(1, 1)


@pytest.mark.parametrize("name", ["mean_squared_error", "mean_absolute_error"])
def test_errors_equal_sklearn(rng, name):
    predictions, targets = rng.normal(size=(2, 60))
    weights = rng.integers(0, 3, size=60)
    expected = getattr(sklearn_metrics, name)(targets, predictions, sample_weight=weights)
    result = run(metrics.METRICS[name], True, predictions, targets, weights)
    assert result == pytest.approx(expected, rel=1e-5)


def test_loss_and_perplexity(rng):
    values, weights = rng.uniform(0, 5, size=60), rng.integers(0, 3, size=60)
    mean = np.average(values, weights=weights)
    assert run(metrics.loss, True, values, weights) == pytest.approx(mean, rel=1e-5)
    assert run(metrics.perplexity, True, values, weights) == pytest.approx(np.exp(mean), rel=1e-5)


@pytest.mark.parametrize("name", sorted(metrics.METRICS.keys() - {"span_f1"}))
def test_merged_parts_equal_the_whole(rng, name):
    if name in ("loss", "perplexity"):
        columns = (rng.uniform(size=60), rng.integers(0, 2, size=60))
    elif name in ("macro_f1", "exact_match"):
        columns = (*rng.integers(0, 2, size=(2, 60, 3)), rng.uniform(size=60))
    else:
        columns = data(rng)
    f = compiled(metrics.METRICS[name])
    parts = [f(*(c[s] for c in columns)) for s in (slice(0, 7), slice(7, 8), slice(8, 60))]
    whole = metrics.compute(f(*columns))
    merge = compiled(metrics.merge)
    left = merge(merge(parts[0], parts[1]), parts[2])
    right = merge(parts[0], merge(parts[1], parts[2]))
    host = metrics.merge(
        metrics.merge(*(jax.tree.map(np.float64, p) for p in parts[:2])),
        jax.tree.map(np.float64, parts[2]),
    )
    for merged in (left, right, host):
        np.testing.assert_allclose(metrics.compute(merged), whole, rtol=1e-5)


@pytest.mark.parametrize("name", ["loss", "perplexity", "mean_squared_error"])
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_weight_zero_is_not_there(name, poison):
    f = compiled(metrics.METRICS[name])
    columns = [np.array([poison, 2.0]), np.array([0.0, 1.0])]
    if name == "mean_squared_error":
        columns.insert(1, np.zeros(2))
    assert np.isfinite(metrics.compute(f(*columns)))


def test_nothing_counted_has_an_answer():
    zero = np.zeros(3)
    assert run(metrics.loss, True, zero, zero) == 0
    assert run(metrics.perplexity, True, zero, zero) == 1
    assert run(metrics.micro_f1, True, np.zeros(3, int), np.zeros(3, int)) == 0
    assert run(metrics.accuracy, True, np.zeros(0, int), np.zeros(0, int)) == 0


def test_states_of_other_kinds_do_not_mix():
    with pytest.raises(TypeError, match="Mean with Perplexity"):
        metrics.merge(metrics.Mean(1, 1), metrics.Perplexity(1, 1))
    with pytest.raises(TypeError, match="state"):
        metrics.compute((1, 2))


@pytest.mark.parametrize(
    ("call", "error", "names"),
    [
        (lambda: metrics.accuracy([0.5], [1]), TypeError, "predictions"),
        (lambda: metrics.accuracy([0], [1.0]), TypeError, "targets"),
        (lambda: metrics.accuracy([0, 1], [1]), ValueError, "targets"),
        (lambda: metrics.micro_f1([0], [0], [1, 1]), ValueError, "weights"),
        (lambda: metrics.loss([0.0], [1, 1]), ValueError, "weights"),
        (lambda: metrics.mean_squared_error([0.0], [[1.0]]), ValueError, "targets"),
    ],
)
def test_wrong_arguments_are_named(call, error, names):
    with pytest.raises(error, match=names):
        call()


micro_f1 = jax.jit(metrics.micro_f1, static_argnames="outside")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16"])
@pytest.mark.parametrize("outside", [-1, 0, 127, 300])
def test_narrow_class_ids_count_as_those_of_int32(rng, dtype, outside):
    classes = 128 if dtype == "int8" else 256
    answers, labels = rng.integers(classes, size=(2, 60))
    answers[:30] = labels[:30]
    answers[0] = labels[0] = classes - 1
    narrow, wide = (
        micro_f1(answers.astype(d), labels.astype(d), outside=outside) for d in (dtype, np.int32)
    )
    np.testing.assert_array_equal(narrow, wide)
    mixed = compiled(metrics.accuracy)(answers.astype(dtype), labels.astype(np.int32))
    assert metrics.compute(mixed) == pytest.approx((answers == labels).mean())


@pytest.mark.parametrize("asarray", [jnp.asarray, np.asarray], ids=["jax", "numpy"])
def test_merging_one_by_one_counts_beyond_what_float32_holds(asarray):
    many = float(2**24)
    one = metrics.Mean(asarray(np.float32(0.5)), asarray(np.float32(1)))
    state = metrics.Mean(asarray(np.float32(many / 2)), asarray(np.float32(many)))
    for _ in range(5):
        state = metrics.merge(state, one)
    assert (float(state.total), float(state.count)) == (many / 2 + 2.5, many + 5)
    assert metrics.compute(state) == 0.5
    classes = metrics.MacroF1(*[asarray(np.full(2, many, np.float32))] * 3)
    ones = metrics.MacroF1(*[asarray(np.ones(2, np.float32))] * 3)
    np.testing.assert_array_equal(metrics.merge(classes, ones).actual, many + 1)


def test_states_merge_in_compiled_code():
    state = metrics.Mean(jnp.float32(1), jnp.float32(2))
    merged = jax.jit(metrics.merge)(state, state)
    assert merged == (2, 4) and merged.count.dtype == jnp.float32
