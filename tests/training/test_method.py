import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import aggregation, weighting
from mtljax.errors import UserError
from mtljax.training.method import make_method
from mtljax.weighting import Weighting
from mtljax.weighting.wrappers import needs_gradients

T = 5


def chosen(config, name, **options):
    return make_method(dataclasses.replace(config, weighting=name, weighting_options=options), T)


@pytest.mark.parametrize("name", sorted({*weighting.METHODS, *aggregation.METHODS}))
def test_every_method_has_a_name(plain, name):
    options = {"weights": [1.0] * T} if name == "fixed" else {}
    method = chosen(plain, name, **options)
    if name in weighting.METHODS:
        assert isinstance(method.rule, Weighting) and method.requires == method.rule.requires
    else:
        assert method.requires == aggregation.REQUIRES.get(name, {"losses"})


def test_wrappers_go_around_in_their_order(plain):
    method = chosen(plain, "mgda", every=2, moving_average=0.5, rescale="mean")
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(2, T, 9)), jnp.float32)
    grams = jnp.einsum("ntp,nup->ntu", rows, rows)
    state, got = method.rule.init(T), []
    for gram in (grams[0], grams[1], grams[1]):
        weights, state = method.rule.update(jnp.ones(T), state, gramian=gram)
        got.append(weights)

    def rescaled(gram):
        exact, _ = weighting.mgda().update(jnp.ones(T), (), gramian=gram)
        mean = np.full(T, 1 / T)
        return exact * np.sqrt((mean @ gram @ mean) / (exact @ gram @ exact))

    first, third = rescaled(grams[0]), rescaled(grams[1])
    np.testing.assert_allclose(got[0], first, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(got[1], got[0])  # every second step
    np.testing.assert_allclose(got[2], (first + third) / 2, rtol=1e-4, atol=1e-5)


def test_both_names_of_the_moving_average(plain):
    rows = jnp.array([[1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 4.0, 1.0, 2.0, 3.0]])
    found = []
    for option in ("cr_mogm", "moving_average"):
        rule = chosen(plain, "geometric", **{option: 0.25}).rule
        _, state = rule.update(rows[0], rule.init(T))
        found.append(rule.update(rows[1], state)[0])
    np.testing.assert_array_equal(*found)
    plain_rule = weighting.geometric()
    first, second = (plain_rule.update(row, ())[0] for row in rows)
    np.testing.assert_allclose(found[0], 0.25 * first + 0.75 * second, rtol=1e-6)


def test_every_of_the_method_itself_stays_outermost(plain):
    rule = chosen(plain, "nash_mtl", every=3, rescale="mean").rule
    _, state = rule.update(jnp.ones(T), rule.init(T), gramian=jnp.eye(T))
    assert not needs_gradients(state)


def test_an_option_of_the_method_itself_goes_there(plain):
    weights, _ = chosen(plain, "equal", scale="sum").rule.update(jnp.ones(T), ())
    np.testing.assert_array_equal(weights, np.ones(T))


def test_a_name_of_both_kinds(plain):
    assert isinstance(chosen(plain, "db_mtl").rule, Weighting)
    assert not isinstance(chosen(plain, "db_mtl", beta=0.5).rule, Weighting)


@pytest.mark.parametrize(
    "groups, labels",
    [
        ("leaf", {"a/b/k", "a/b/bias", "a/c/k", "d"}),
        ("module", {"a/b", "a/c", ""}),
        ("top", {"a", "d"}),
    ],
)
def test_groups(plain, groups, labels):
    method = chosen(plain, "upgrad", groups=groups)
    one = jnp.zeros(1)
    params = {"a": {"b": {"k": one, "bias": one}, "c": {"k": one}}, "d": one}
    assert set(method.rule.init(params)) == labels


def test_what_the_step_is_told(plain):
    method = chosen(plain, "auto_lambda", heads="weighted", inner_lr=0.5, inner_steps=2)
    assert (method.heads, method.inner_lr, method.inner_steps) == ("weighted", 0.5, 2)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("mgba", {}, "unknown; did you mean 'mgda'"),
        ("mgda", {"normalise": "l2"}, "normalise"),
        ("cagrad", {"c": -1}, "c must"),
        ("cagrad", {"pref": [1, 2, 3]}, "3 given for 5 tasks"),
        ("dual_proj", {"pref": [0, 0, 0, 0, 0]}, "pref must be positive"),
        ("mgda", {"every": 0}, "0"),
        ("mgda", {"every": 1.5}, "1.5"),
        ("mgda", {"moving_average": 2}, "2"),
        ("mgda", {"cr_mogm": 0.5, "moving_average": 0.5}, "two names"),
        ("nash_mtl", {"every": 0}, "0"),
        ("mgda", {"rescale": "most"}, "most"),
        ("mgda", {"groups": "layers"}, "layers"),
        ("modo", {"groups": "leaf"}, "several batches"),
        ("graddrop", {"every": 2}, "every"),
        ("graddrop", {"heads": "weighted"}, "no weights"),
        ("mgda", {"heads": "theirs"}, "theirs"),
        ("moml", {"inner_lr": 0}, "inner_lr"),
        ("forum", {"inner_steps": 0}, "inner_steps"),
        ("trimmed_mean", {"trim": 3}, "trim"),
        ("krum", {"num_byzantine": 3}, "num_byzantine|tasks"),
    ],
)
def test_what_cannot_be_is_one_line(plain, name, options, message):
    with pytest.raises(UserError, match=message) as error:
        chosen(plain, name, **options)
    assert str(error.value).startswith(f"weighting {name!r}: ") and "\n" not in str(error.value)


def test_states_are_arrays(plain):
    for name in sorted(weighting.METHODS):
        options = {"weights": [1.0] * T} if name == "fixed" else {}
        for leaf in jax.tree.leaves(chosen(plain, name, **options).rule.init(T)):
            assert isinstance(leaf, jax.Array)
