import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from mtljax.aggregation import forum

T, P = 3, 10


class Quadratics:
    """Training and validation losses |A theta - b|^2 of T tasks."""

    def __init__(self, rng):
        self.matrices = rng.normal(size=(2, T, 5, P))
        self.targets = rng.normal(size=(2, T, 5))

    def losses(self, theta, which=0):
        return ((self.matrices[which] @ theta - self.targets[which]) ** 2).sum(1)

    def gradients(self, theta, which=0):
        rest = self.matrices[which] @ theta - self.targets[which]
        return 2 * np.einsum("tkp,tk->tp", self.matrices[which], rest)

    def inner(self, logits, theta, steps=5, rate=0.01):
        for _ in range(steps):
            theta = theta - rate * softmax(logits) @ self.gradients(theta)
        return theta


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def steepest_common_descent(outer, q, phi):
    """The problem of the paper, by a general solver: min |d|^2/2 - z, a d >= z, q d >= phi |q|^2.

    In unit length of q, so that the solver sees numbers near 1.
    """
    length = np.linalg.norm(q)
    rows = np.vstack([outer, q / length])

    def unpack(x):
        return rows.T @ x[:-1], x[-1]  # the solution is a combination of the rows

    found = optimize.minimize(
        lambda x: 0.5 * unpack(x)[0] @ unpack(x)[0] - unpack(x)[1],
        np.ones(len(rows) + 1),
        jac=lambda x: np.append(rows @ unpack(x)[0], -1.0),
        constraints=[
            {"type": "ineq", "fun": lambda x: outer @ unpack(x)[0] - unpack(x)[1]},
            {"type": "ineq", "fun": lambda x: rows[-1] @ unpack(x)[0] - phi * length},
        ],
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-15},
    )
    assert found.status in (0, 8)  # done, or no further descent to rounding
    return unpack(found.x)[0]


@pytest.fixture(scope="module")
def update():
    return jax.jit(forum(T).update)


def numerical_gradient(f, x, step=1e-6):
    return np.array([(f(x + e) - f(x - e)) / (2 * step) for e in step * np.eye(len(x))])


def inputs(problem, logits, theta, tree):
    inner = problem.inner(logits, theta)
    return tree(problem.gradients(theta)), {
        "losses": problem.losses(theta),
        "inner_losses": problem.losses(inner),
        "validation_grads": tree(problem.gradients(theta, 1)),
    }


@pytest.fixture(scope="module")
def update_with():
    """One compilation for all options, which may be traced."""

    def update(phi, *args, **kwargs):
        return forum(T, phi=phi, lr=0.1).update(*args, **kwargs)

    return jax.jit(update)


@pytest.mark.parametrize("phi", [1e-3, 0.02, 0.5])
def test_follows_the_paper(phi, rng, tree, params, flat, update_with):
    """Directions against a general solver, the constraint's gradient against differences."""
    problem, theta, logits = Quadratics(rng), 0.3 * rng.normal(size=P), np.zeros(T)
    shares, mean, square = np.full(T, 1 / T), np.zeros(T), np.zeros(T)
    with jax.enable_x64(True):
        state = forum(T).init(params)
        for t in range(4):
            theta_inner = problem.inner(logits, theta)
            q = numerical_gradient(
                lambda z, fixed=theta_inner: (
                    softmax(z[:T]) @ (problem.losses(z[T:]) - problem.losses(fixed))
                ),
                np.concatenate([logits, theta]),
            )
            outer = problem.gradients(theta, 1)
            outer = outer / np.linalg.norm(outer, axis=1, keepdims=True)
            padded = np.hstack([np.zeros((T, T)), outer])
            wanted = steepest_common_descent(padded, q, phi)
            # The shares of the solution: outside of q it is a combination of the rows a.
            basis = np.vstack([padded, q]).T
            solved = np.linalg.lstsq(basis, wanted, rcond=None)[0][:T]
            np.testing.assert_allclose(solved.sum(), 1, rtol=1e-4)
            shares = shares + (1 + t) ** -0.75 * (solved - shares)
            nu = max(phi - q @ padded.T @ shares / (q @ q), 0)
            expected = shares @ padded + nu * q

            grads, signals = inputs(problem, logits, theta, tree)
            direction, state = update_with(phi, grads, state, **signals)
            # SLSQP stops at an error of 1e-15 in the objective, the root of that in the point.
            np.testing.assert_allclose(state.shares, shares, atol=2e-5)
            np.testing.assert_allclose(flat(direction), expected[T:], rtol=1e-3, atol=1e-4)
            if t == 0:  # the whole solution
                np.testing.assert_allclose(flat(direction), wanted[T:], rtol=1e-3, atol=1e-4)
            mean = 0.9 * mean + 0.1 * expected[:T]
            square = 0.999 * square + 0.001 * expected[:T] ** 2
            np.testing.assert_allclose(state.adam.mean, mean, rtol=1e-3, atol=1e-4)
            unbiased = np.sqrt(square / (1 - 0.999 ** (t + 1)))
            logits = logits - 0.1 * (mean / (1 - 0.9 ** (t + 1))) / (unbiased + 1e-8)
            np.testing.assert_allclose(state.logits, logits, atol=1e-3)
            # Both go on from the same place.
            logits, shares = np.asarray(state.logits), np.asarray(state.shares)
            mean, square = np.asarray(state.adam.mean), np.asarray(state.adam.square)
            theta = theta - 0.02 * flat(direction)


def test_lowers_every_validation_loss_and_keeps_the_training_low(rng, tree, params, flat, update):
    problem, theta = Quadratics(rng), np.zeros(P)
    # What is learned in training holds for validation, but for some noise.
    problem.matrices[1] = problem.matrices[0] + 0.1 * problem.matrices[1]
    problem.targets[1] = problem.targets[0] + 0.1 * problem.targets[1]
    state = forum(T).init(params)
    before = problem.losses(theta, 1)
    for _ in range(60):
        grads, signals = inputs(
            problem, np.asarray(state.logits), theta, lambda rows: tree(rows, jnp.float32)
        )
        direction, state = update(grads, state, mask=np.ones(T, bool), **signals)
        theta = theta - 0.01 * flat(direction)
    assert (problem.losses(theta, 1) < before).all()
    assert problem.losses(theta).sum() < problem.losses(np.zeros(P)).sum()


@pytest.fixture
def step(rng, tree):
    problem = Quadratics(rng)
    return inputs(problem, np.zeros(T), rng.normal(size=P), lambda rows: tree(rows, jnp.float32))


@pytest.fixture(scope="module")
def update_two():
    return jax.jit(forum(2).update)


@pytest.mark.parametrize("poison", ["mask", "train", "validation", "inner"])
def test_left_out_tasks_are_as_if_they_were_not_there(poison, step, params, update, update_two):
    grads, signals = step
    here = np.array([0, 2])
    alone = jax.tree.map(lambda leaf: leaf[here], (grads, signals))
    expected, _ = update_two(alone[0], forum(2).init(params), **alone[1])
    second = np.arange(T) == 1
    spoil = lambda tree: jax.tree.map(  # noqa: E731
        lambda leaf: np.where(second.reshape(-1, *[1] * (leaf.ndim - 1)), np.nan, leaf), tree
    )
    mask = np.array([True, poison != "mask", True])
    if poison in ("mask", "train"):
        grads = spoil(grads)
    elif poison == "validation":
        signals["validation_grads"] = spoil(signals["validation_grads"])
    else:
        signals["inner_losses"] = spoil(signals["inner_losses"])
    start = forum(T).init(params)
    direction, state = update(grads, start, mask=mask, **signals)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), direction, expected)
    assert state.logits[1] == 0 and state.shares[1] == start.shares[1] and state.step == 1


def test_no_task_left(step, params, update):
    state = forum(T).init(params)
    direction, new = update(step[0], state, mask=np.zeros(T, bool), **step[1])
    jax.tree.map(lambda d: np.testing.assert_array_equal(d, 0), direction)
    jax.tree.map(np.testing.assert_array_equal, new, state)


@pytest.mark.parametrize("train", [0.0, 1e-30, 1e30])
@pytest.mark.parametrize("validation", [0.0, 1e-30, 1e30])
def test_any_size(train, validation, step, params, flat, update):
    grads, signals = step
    grads = jax.tree.map(lambda g: train * g, grads)
    outer = jax.tree.map(lambda g: validation * g, signals["validation_grads"])
    losses = signals["losses"]  # no inner progress, so that q has no part in the logits
    direction, state = update(
        grads,
        forum(T).init(params),
        mask=np.ones(T, bool),
        losses=losses,
        inner_losses=losses,
        validation_grads=outer,
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((direction, state)))
    if train == validation == 0:
        np.testing.assert_array_equal(flat(direction), 0)
    if train == 0 and validation:  # the shortest combination of unit vectors
        assert 0 < np.linalg.norm(flat(direction)) < 1


def test_wrong_arguments_are_named(step, params):
    method = forum(T)
    with pytest.raises(ValueError, match="inner_losses, validation_grads"):
        method.update(step[0], method.init(params), losses=step[1]["losses"])
    for options in ({"phi": 0.0}, {"lr": -1.0}, {"period": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            forum(T, **options)
