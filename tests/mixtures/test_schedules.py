"""Each schedule against its formula, and what all of them have in common."""

import jax
import numpy as np
import pytest

from mtljax.mixtures import (
    SCHEDULES,
    SIGNALS,
    balanced_pike,
    doge,
    doremi,
    elimination,
    exp3,
    guard,
    pike,
)

GROUPS = 4
FACTORIES = {
    **SCHEDULES,
    "doremi": lambda **options: doremi([0.9, 1.1, 0.8, 1.0], **options),
    "doge_target": lambda **options: doge(target=1, **options),
    "doge_validation": lambda **options: doge(validation=True, **options),
    "elimination_target": lambda **options: elimination(target=0, **options),
    "exp3_target": lambda **options: exp3(target=2, **options),
}


def signals_of(seed, groups=GROUPS):
    random = np.random.default_rng(seed)
    jacobian = random.normal(size=(groups, 6)) + [[0.5]]
    return {
        "losses": random.uniform(0.5, 1.5, groups),
        "gramian": jacobian @ jacobian.T,
        "gramian_diagonal": random.uniform(0, 2, groups),
        "variances": random.uniform(0, 2, groups),
        "validation_losses": random.uniform(0.5, 1.5, groups),
        "validation_gradients": random.normal(size=(groups, groups)),
    }


def run(schedule, all_signals, **options):
    state = schedule.init(GROUPS)
    for signals in all_signals:
        _, state = schedule.update(signals, state, **options)
    return state


SIGNALS_OF_THREE = [signals_of(seed) for seed in range(3)]


# The formulas, of rates far above the floor.


def test_pike_is_its_formula():
    signals, floor = signals_of(0), 1e-6
    schedule = pike(step_size=0.3, noise=0.5, floor=floor, relative=False)
    rates, state = schedule.update(signals, schedule.init(GROUPS, [1, 2, 3, 4]))
    scores = 0.3 * signals["gramian_diagonal"] - 0.3 * 0.5 / 2 * signals["variances"]
    expected = np.array([1, 2, 3, 4]) * np.exp(scores)
    np.testing.assert_allclose(rates, expected / expected.sum(), rtol=1e-12)
    np.testing.assert_array_equal(state.rates, rates)


def test_balanced_pike_is_pike_of_weighted_losses():
    signals, tau = signals_of(1), 3.0
    y = tau * np.exp(tau * signals["losses"]) / np.exp(tau * signals["losses"]).sum()
    weighted = {name: y**2 * signals[name] for name in ("gramian_diagonal", "variances")}
    for relative in (True, False):
        one, other = (
            balanced_pike(tau=tau, relative=relative, floor=0.01),
            pike(relative=relative, floor=0.01),
        )
        found, _ = one.update(signals, one.init(GROUPS))
        expected, _ = other.update(weighted, other.init(GROUPS))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_doremi_is_its_formula():
    signals = signals_of(2)
    reference = np.array([0.9, 1.1, 0.8, 1.0])
    schedule = doremi(reference.tolist(), step_size=2.0, floor=0.05)
    rates, _ = schedule.update(signals, schedule.init(GROUPS))
    tilt = np.exp(2.0 * np.clip(signals["losses"] - reference, 0, None))
    np.testing.assert_allclose(rates, 0.95 * tilt / tilt.sum() + 0.05 / GROUPS, rtol=1e-12)


@pytest.mark.parametrize("target", [None, 2])
def test_doge_is_its_formula_with_gradients_themselves(target):
    gradients = np.random.default_rng(3).normal(size=(GROUPS, 7))
    toward = gradients.sum(0) if target is None else gradients[target]
    tilt = np.exp(0.1 * gradients @ toward)
    schedule = doge(target=target, step_size=0.1, floor=1e-6, relative=False)
    rates, _ = schedule.update({"gramian": gradients @ gradients.T}, schedule.init(GROUPS))
    np.testing.assert_allclose(rates, tilt / tilt.sum(), rtol=1e-12)


def test_the_validation_form_is_the_gradient_through_a_step():
    # A linear model: the drop of the target's validation loss in a step at equal rates, by its
    # derivative for each rate, in float64.
    random = np.random.default_rng(4)
    training, validation = random.normal(size=(2, GROUPS, 5, 3))
    answers, checks = random.normal(size=(2, GROUPS, 5))
    w, lr, target, step = random.normal(size=3), 0.01, 1, 1e-4

    def gradient(x, y, w):
        return x.T @ (x @ w - y) / len(y)

    def loss_after(rates):
        pull = sum(r * gradient(x, y, w) for r, x, y in zip(rates, training, answers, strict=True))
        residual = validation[target] @ (w - lr * pull) - checks[target]
        return np.mean(residual**2) / 2

    equal, unit = np.full(GROUPS, 1 / GROUPS), np.eye(GROUPS)
    slopes = [
        (loss_after(equal + step * e) - loss_after(equal - step * e)) / (2 * step) for e in unit
    ]
    at = w - lr * np.mean(
        [gradient(x, y, w) for x, y in zip(training, answers, strict=True)], axis=0
    )
    products = np.array([[gradient(v, c, at) @ gradient(x, y, w)
                          for x, y in zip(training, answers, strict=True)]
                         for v, c in zip(validation, checks, strict=True)])  # fmt: skip
    schedule = doge(target=target, step_size=lr, floor=1e-6, relative=False, validation=True)
    rates, _ = schedule.update({"validation_gradients": products}, schedule.init(GROUPS))
    tilt = np.exp(-np.array(slopes))
    np.testing.assert_allclose(rates, tilt / tilt.sum(), rtol=1e-8)


@pytest.mark.parametrize("name", ["pike", "balanced_pike", "doge", "doge_target"])
def test_relative_rates_do_not_depend_on_the_scale_of_the_losses(name):
    # Squares of 1e12, and of 1e-12, with losses as they are.
    for factor in (1e12, 1e-12):
        scaled = [
            {n: v if n == "losses" else factor * v for n, v in signals.items()}
            for signals in SIGNALS_OF_THREE
        ]
        one, other = (run(FACTORIES[name](), given).rates for given in (SIGNALS_OF_THREE, scaled))
        np.testing.assert_allclose(one, other, rtol=1e-9)


# What all have in common.


@pytest.mark.parametrize("name", FACTORIES)
def test_rates_are_a_mixture_above_the_floor(name):
    floor = 0.3
    schedule = FACTORIES[name](floor=floor)
    state = schedule.init(GROUPS, [1, 0, 0, 5])
    for seed in range(30):
        rates, state = schedule.update(signals_of(seed), state)
        assert rates.min() >= floor / GROUPS - 1e-15
        np.testing.assert_allclose(rates.sum(), 1, rtol=1e-12)
        np.testing.assert_array_equal(rates, state.rates)


@pytest.mark.parametrize("name", FACTORIES)
def test_numbers_that_are_not_finite_leave_the_state(name):
    schedule = FACTORIES[name]()
    state = run(schedule, SIGNALS_OF_THREE)
    for bad in (np.nan, np.inf):
        signals = {n: v.copy() for n, v in signals_of(7).items()}
        for signal in schedule.requires:
            signals[signal][..., 2] = bad
        rates, after = schedule.update(signals, state)
        np.testing.assert_array_equal(rates, state.rates)
        jax.tree.map(np.testing.assert_array_equal, after, state)


@pytest.mark.parametrize("name", FACTORIES)
def test_a_group_that_is_absent_keeps_its_rate(name):
    schedule = FACTORIES[name]()
    state = run(schedule, SIGNALS_OF_THREE)
    mask = np.array([True, True, True, False])
    signals = {n: v.copy() for n, v in signals_of(8).items()}
    for signal in schedule.requires:
        signals[signal][..., 3] = np.nan  # not read
    rates, after = schedule.update(signals, state, mask=mask)
    np.testing.assert_allclose(rates[3], state.rates[3], rtol=1e-15)
    np.testing.assert_allclose(rates.sum(), 1, rtol=1e-12)
    assert not np.array_equal(rates, state.rates) or name.startswith("elimination")
    none, unchanged = schedule.update(signals, after, mask=np.zeros(GROUPS, bool))
    np.testing.assert_array_equal(none, rates)
    jax.tree.map(np.testing.assert_array_equal, unchanged, after)


def test_without_the_target_nothing_is_learned():
    mask = np.array([True, False, True, True])
    schedule = doge(target=1)
    state = run(schedule, SIGNALS_OF_THREE)
    rates, _ = schedule.update(signals_of(9), state, mask=mask)
    np.testing.assert_array_equal(rates, state.rates)


def test_signals_of_zero_change_no_rates():
    zeros = {name: np.zeros((GROUPS,) * axes) for name, axes in SIGNALS.items()}
    for name in ("pike", "balanced_pike", "doge", "doge_validation", "elimination"):
        schedule = FACTORIES[name]()
        rates, _ = schedule.update(zeros, schedule.init(GROUPS, [1, 2, 3, 4]))
        np.testing.assert_allclose(rates, [0.1, 0.2, 0.3, 0.4], rtol=1e-12, err_msg=name)


def test_jax_computes_what_numpy_does():
    # One program for all of them: three updates, as of float32.
    schedules = {name: factory(floor=0.2) for name, factory in FACTORIES.items()}

    def last(all_signals):
        return {name: run(schedule, all_signals) for name, schedule in schedules.items()}

    single = [{n: v.astype(np.float32) for n, v in given.items()} for given in SIGNALS_OF_THREE]
    found = jax.jit(last)(single)
    for name, expected in last(SIGNALS_OF_THREE).items():
        assert isinstance(expected.rates, np.ndarray) and expected.rates.dtype == np.float64
        one, other = jax.tree.leaves(found[name]), jax.tree.leaves(expected)
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: pike(floor=0.0), "floor must be in"),
        (lambda: pike(floor=1.5), "floor must be in"),
        (lambda: doge(target=-1), "target must be"),
        (lambda: doge(target=4).init(4), "target 4: there are 4 groups"),
        (lambda: doremi([1.0, np.nan]), "reference_losses must be finite"),
        (lambda: doremi([1.0, 2.0]).init(3), "2 given for 3 groups"),
        (lambda: balanced_pike(tau=0.0), "tau must be positive"),
        (lambda: elimination(error=1.0), "error must be"),
        (lambda: elimination(least=1), "least must be"),
        (lambda: exp3(emphasis=0.0), "emphasis must be"),
        (lambda: pike().init(1), "2 or more"),
        (lambda: pike().init(2, [1.0, -1.0]), "not negative"),
        (lambda: pike().init(2, [1.0]), "shape"),
        (lambda: pike().update({}, pike().init(2)), "is missing"),
        (lambda: doge().update({"gramian": np.ones(2)}, doge().init(2)), "shape"),
        (lambda: doge().update({"gramian": np.eye(2)}, doge().init(2), mask=[1, 0]), "mask"),
        (lambda: guard(lambda *_: ((), ()), requires=("loss",), floor=0.1), "unknown signals loss"),
    ],
)
def test_wrong_arguments_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
