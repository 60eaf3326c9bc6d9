"""Merging of models, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.merging import dare, task_arithmetic, ties


@pytest.fixture
def trees():
    """A base, and three models of it, float32."""
    rng = np.random.default_rng(0)
    shapes = {"a": (4, 3), "b": {"c": (7,), "d": ()}}

    def draw():
        return jax.tree.map(
            lambda shape: rng.normal(size=shape).astype(np.float32),
            shapes,
            is_leaf=lambda node: isinstance(node, tuple),
        )

    return draw(), [draw() for _ in range(3)]


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).astype(np.float64)


def by_definition(base, models, density):
    """TIES as the paper says it, entry by entry."""
    vectors = [flat(model) - flat(base) for model in models]
    keep = int(np.ceil(density * len(vectors[0])))
    trimmed = []
    for vector in vectors:
        largest = set(np.argsort(-np.abs(vector))[:keep])
        trimmed.append([value if i in largest else 0.0 for i, value in enumerate(vector)])
    merged = []
    for entries in zip(*trimmed, strict=True):
        positive = sum(e for e in entries if e > 0)
        negative = -sum(e for e in entries if e < 0)
        chosen = [e for e in entries if (e > 0 if positive > negative else e < 0)]
        merged.append(np.mean(chosen) if chosen else 0.0)
    return np.array(merged)


@pytest.mark.parametrize("scale", [0.3, [0.5, 0.0, -1.0]])
def test_task_arithmetic_adds_task_vectors(trees, scale):
    base, models = trees
    found = task_arithmetic(base, models, jnp.asarray(scale))
    vectors = np.stack([flat(model) - flat(base) for model in models])
    expected = flat(base) + np.broadcast_to(scale, 3) @ vectors
    np.testing.assert_allclose(flat(found), expected, rtol=2e-6, atol=2e-6)
    assert jax.tree.structure(found) == jax.tree.structure(base)


@pytest.mark.parametrize("density", [0.2, 0.5, 1.0])
def test_ties_is_that_of_the_paper(trees, density):
    base, models = trees
    expected = flat(base) + 0.7 * by_definition(base, models, density)
    for found in (
        ties(base, models, 0.7, density=density),
        jax.jit(lambda b, m: ties(b, m, 0.7, density=density))(base, models),
    ):
        np.testing.assert_allclose(flat(found), expected, rtol=2e-6, atol=2e-6)


def test_ties_of_opposed_models_is_base():
    base, step = jnp.ones(3), jnp.array([1.0, -2.0, 0.0])
    np.testing.assert_array_equal(ties(base, [base + step, base - step], density=1.0), base)


def test_dare_keeps_the_expectation_and_drops_the_rest():
    base, model = {"a": jnp.full((100, 100), 2.0)}, {"a": jnp.full((100, 100), 5.0)}
    found = np.asarray(dare(jax.random.key(1), base, model, drop=0.75)["a"])
    # Entries are w_0 or w_0 + 3 / (1 - 0.75); 10,000 of them are within five deviations of 3.
    assert set(np.unique(found)) == {2.0, 14.0}
    assert abs(found.mean() - 5.0) < 5 * 12 * np.sqrt(0.75 * 0.25 / found.size)
    np.testing.assert_array_equal(dare(jax.random.key(1), base, model, drop=0.0)["a"], model["a"])


def test_low_precision_is_summed_in_float32_and_returned_as_it_was():
    base = jnp.ones(2, jnp.bfloat16)
    models = [base + jnp.asarray(2.0**-7, jnp.bfloat16)] * 3  # a unit in the last place each
    found = task_arithmetic(base, models, 1.0)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(found, np.float32), 1 + 3 * 2.0**-7)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda w: task_arithmetic(w, []), ValueError, "models: need at least one"),
        (lambda w: ties(w, []), ValueError, "models: need at least one"),
        (lambda w: task_arithmetic(w, [w], [1.0, 2.0]), ValueError, r"scale must be .* \[1\]"),
        (lambda w: ties(w, [w], density=0.0), ValueError, "density must be in"),
        (lambda w: dare(jax.random.key(0), w, w, drop=1.0), ValueError, "drop must be in"),
        (lambda w: ties(w, [{}]), ValueError, "must have the tree of base"),
        (lambda w: ties(w, [{"x": np.ones(3)}]), ValueError, r"x: shape \(3,\), \(2,\) in base"),
        (lambda w: ties({"x": np.ones(2, int)}, [w]), TypeError, "x: must be floating point"),
    ],
)
def test_arguments_are_checked(call, error, message):
    with pytest.raises(error, match=message):
        call({"x": np.ones(2, np.float32)})
