import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import regularizers

TREE = {"a": np.arange(6.0).reshape(2, 3), "b": [np.array(2.0), np.array([-1.0, 0.5])]}


@pytest.mark.parametrize("jit", [False, True])
def test_l2_equals_numpy(jit):
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(TREE)])
    f = jax.jit(regularizers.l2) if jit else regularizers.l2
    assert f(TREE) == pytest.approx(np.linalg.norm(flat) ** 2 / 2)


def test_gradient_of_l2_is_the_parameters():
    params = jax.tree.map(np.float32, TREE)
    slopes = jax.jit(jax.grad(regularizers.l2))(params)
    jax.tree.map(np.testing.assert_array_equal, slopes, params)


group_lasso = jax.jit(regularizers.group_lasso, static_argnums=1, static_argnames="scale_by_size")


@pytest.mark.parametrize(
    ("axis", "scale_by_size"),
    [
        (0, False),
        (0, True),
        (1, False),
        (-1, True),
        ((0, 2), False),
        ((0, 2), True),
        ((1, 0), True),
    ],
)
def test_group_lasso_equals_numpy(rng, axis, scale_by_size):
    leaf = rng.normal(size=(2, 3, 4)).astype(np.float32)
    kept = [a % 3 for a in ((axis,) if isinstance(axis, int) else axis)]
    groups = np.moveaxis(leaf, sorted(kept), range(len(kept)))
    groups = groups.reshape(np.prod(groups.shape[: len(kept)]), -1)
    expected = np.linalg.norm(groups, axis=1).sum()
    expected *= np.sqrt(groups.shape[1]) if scale_by_size else 1
    result = group_lasso({"leaf": leaf}, axis, scale_by_size=scale_by_size)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
def test_group_lasso_has_a_zero_gradient_at_zero(jit):
    params = np.float32([[3.0, 4.0], [0.0, 0.0]])
    f = jax.grad(lambda p: regularizers.group_lasso(p, scale_by_size=False))
    np.testing.assert_allclose((jax.jit(f) if jit else f)(params), [[0.6, 0.8], [0, 0]], rtol=1e-6)
    if jit:
        hessian = jax.jit(jax.hessian(regularizers.group_lasso))(params)
        assert np.isfinite(hessian).all()


def test_group_lasso_sets_groups_to_exactly_zero_by_proximal_steps():
    """The proximal operator of the penalty shrinks norms: its subgradient condition holds."""
    target, strength = np.float32([[3.0, 4.0], [0.3, 0.4]]), 1.0
    norms = np.linalg.norm(target, axis=1, keepdims=True)
    solution = np.maximum(1 - strength / norms, 0) * target

    @jax.jit
    def objective(w):
        fit = jnp.sum((w - target) ** 2) / 2
        return fit + strength * regularizers.group_lasso(w, scale_by_size=False)

    best = objective(solution)
    for step in 1e-2 * np.random.default_rng(0).normal(size=(20, *target.shape)):
        assert objective(np.float32(solution + step)) > best


@pytest.mark.parametrize("penalty", [regularizers.l2, regularizers.group_lasso])
def test_dtypes_and_empty_trees(penalty):
    assert penalty({}) == 0
    assert jax.eval_shape(penalty, np.ones((300, 2), jnp.bfloat16)).dtype == jnp.float32
    with jax.enable_x64(True):
        assert jax.eval_shape(penalty, np.ones((3, 2))).dtype == jnp.float64
    with pytest.raises(TypeError, match="'step'"):
        penalty({"step": np.ones(2, int)})


def test_group_lasso_names_the_leaf_without_the_axis():
    with pytest.raises(ValueError, match="'layer/bias'"):
        regularizers.group_lasso({"layer": {"bias": np.ones(3)}}, 1)
