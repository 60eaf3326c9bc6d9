"""Complex features, parameters without gradients, and what encoders and heads return besides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import gradients
from mtljax.gradients import Examples, Unbatched

ALL = ("unrolled", "vmapped", "scanned")


def encode_spectrum(shared, inputs):
    """Complex features, real ones, integers, and a complex table without a batch axis."""
    hidden = jnp.tanh(inputs @ shared["kernel"] + shared["bias"]) * shared["scale"]
    table = Unbatched(jnp.exp(1j * shared["bias"]))
    return {"spectrum": jnp.fft.fft(hidden), "hidden": hidden, "table": table, "index": inputs > 0}


def power(params, features, targets):
    filtered = features["spectrum"] * (params + 1j) * features["table"].value
    back = jnp.fft.ifft(filtered)
    kept = jnp.where(features["index"][:, :1], jnp.abs(back) ** 2 + jnp.imag(back), 0)
    return jnp.mean((kept.sum(-1) - targets) ** 2) + jnp.mean(features["hidden"])


def phase(params, features, targets):
    return jnp.mean(jnp.real(features["spectrum"] @ (params["w"] - 2j)) * targets)


def as_spectrum(case, heads=None):
    heads = dict.fromkeys(case.heads, power) if heads is None else heads
    return case._replace(encode=encode_spectrum, heads=heads)


@pytest.fixture
def spectra(cases):
    equal = as_spectrum(cases["equal_shapes"]())
    heads = {"t0": power, "t1": phase, "t2": power}
    params = {**equal.head_params, "t1": {"w": equal.head_params["t1"]}}
    unequal = equal._replace(heads=heads, head_params=params)
    inputs = next(iter(equal.batch.values())).inputs
    targets = {n: y for examples in equal.batch.values() for n, y in examples.targets.items()}
    group = {"all": Examples(inputs, targets)}
    return {
        "equal": equal,
        "unequal": unequal,
        "group": equal._replace(batch=group),
        "unequal group": unequal._replace(batch=group),
    }


@pytest.mark.parametrize(
    ("name", "strategies"),
    [("equal", ALL), ("unequal", ALL), ("group", ALL[:1]), ("unequal group", ALL[:1])],
)
def test_complex_features_are_differentiated(spectra, name, strategies, expected, close):
    case = spectra[name]
    losses, shared, heads = expected(case)
    for strategy in strategies:
        found = jax.jit(
            lambda *args, s=strategy: gradients.task_gradients(
                case.encode, case.heads, *args, strategy=s
            )
        )(*case[2:5])
        close(found[:3], (losses, shared, heads), rtol=3e-5)
    values = jax.jit(lambda *args: gradients.task_losses(case.encode, case.heads, *args))
    np.testing.assert_allclose(values(*case[2:5]), losses, rtol=1e-5)


def test_gradients_of_complex_features_pull_back(spectra, expected, close):
    case = spectra["group"]
    _, shared, _ = expected(case)
    weights = jnp.array([0.5, -1.0, 2.0])

    @jax.jit
    def pulled(*args):
        found = gradients.representation_gradients(case.encode, case.heads, *args)
        # Real and imaginary parts are coordinates, of which a Gramian has real products.
        products = gradients.gramian(found.features)
        return found.pull_back(gradients.combine(weights, found.features)), products

    direction, products = pulled(*case[2:5])
    close(direction, gradients.combine(weights, shared), rtol=3e-5)
    assert products.dtype == jnp.float32 and (jnp.diagonal(products) > 0).all()


@pytest.mark.parametrize("leaf", [jnp.arange(3), jnp.array(True), jnp.ones(2, complex)])
def test_parameters_without_a_gradient_are_named_by_task_and_path(cases, leaf):
    case = cases["unequal_heads"]()
    functions = [
        gradients.task_gradients,
        gradients.representation_gradients,
        lambda *args: gradients.lagged_gradients(*args, jnp.ones(3)),
    ]
    shared = {**case.shared, "deep": {"count": leaf}}
    head_params = {**case.head_params, "b": {**case.head_params["b"], "steps": [leaf]}}
    for function in functions:
        with pytest.raises(TypeError, match=rf"^shared: leaf 'deep/count'.*{leaf.dtype}"):
            function(case.encode, case.heads, shared, case.head_params, case.batch)
        with pytest.raises(TypeError, match=rf"task 'b': leaf 'steps/0'.*{leaf.dtype}"):
            function(case.encode, case.heads, case.shared, head_params, case.batch)
    # Losses alone need no gradient.
    gradients.task_losses(case.encode, case.heads, shared, head_params, case.batch)


def with_aux(case):
    """The same problem, whose encoders and heads return something besides."""
    encoders = case.encode if isinstance(case.encode, dict) else dict.fromkeys(case.batch)
    wrapped = {}
    for name in encoders:
        encode = case.encode[name] if isinstance(case.encode, dict) else case.encode

        def encode_with_aux(shared, inputs, *key, encode=encode):
            features = encode(shared, inputs, *key)
            return features, {"mean": jnp.mean(features, 0), "rows": len(features)}

        wrapped[encode] = encode_with_aux
    functions = {}
    for task, head in case.heads.items():

        def head_with_aux(params, features, targets, *key, head=head):
            loss = head(params, features, targets, *key)
            # Heads of different shapes return different trees.
            return loss, {"twice": 2 * loss, "params": jax.tree.map(jnp.sum, params)}

        functions.setdefault(head, head_with_aux)
        del task
    by_group = isinstance(case.encode, dict)
    return case._replace(
        encode={n: wrapped[case.encode[n]] for n in encoders} if by_group else wrapped[case.encode],
        heads={task: functions[head] for task, head in case.heads.items()},
    )


def expected_aux(case):
    return jax.jit(lambda: _expected_aux(case))()


def _expected_aux(case):
    groups, tasks = {}, {}
    for g, name in enumerate(sorted(case.batch)):
        encode = case.encode[name] if isinstance(case.encode, dict) else case.encode
        keys = () if case.key is None else (jax.random.fold_in(case.key, g),)
        features = encode(case.shared, case.batch[name].inputs, *keys)
        groups[name] = {"mean": jnp.mean(features, 0), "rows": len(features)}
        for i, task in enumerate(case.heads):
            if task in case.batch[name].targets:
                keys = ()
                if case.key is not None:
                    keys = (jax.random.fold_in(case.key, len(case.batch) + i),)
                params = case.head_params[task]
                loss = case.heads[task](params, features, case.batch[name].targets[task], *keys)
                tasks[task] = {"twice": 2 * loss, "params": jax.tree.map(jnp.sum, params)}
    return gradients.Aux(groups, tasks)


@pytest.mark.parametrize("name", ["equal_shapes", "unequal_heads", "groups"])
def test_what_encoders_and_heads_return_besides_leaves(cases, name, expected, close):
    plain = cases[name]()
    case, wanted, aux = with_aux(plain), expected(plain), expected_aux(plain)
    for strategy in plain.strategies[1:]:
        run = jax.jit(
            lambda *args, s=strategy: gradients.task_gradients(
                case.encode, case.heads, *args, key=case.key, strategy=s, has_aux=True
            )
        )
        *found, returned = run(*case[2:5])
        close(tuple(found), wanted)
        close(returned, aux)
    run = jax.jit(
        lambda *args: gradients.task_losses(
            case.encode, case.heads, *args, key=case.key, has_aux=True
        )
    )
    losses, returned = run(*case[2:5])
    close((losses, returned), (wanted[0], aux))
    weights = jnp.ones(len(case.heads))
    run = jax.jit(
        lambda *args: gradients.lagged_gradients(
            case.encode, case.heads, *args, weights, key=case.key, sketch=4, has_aux=True
        )
    )
    found = run(*case[2:5])
    close((found.losses, found.aux), (wanted[0], aux))


def test_the_features_of_one_group_return_more_besides(cases, close, expected):
    plain = cases["dropout_group"]()
    case = with_aux(plain)
    found = gradients.representation_gradients(*case[:5], key=case.key, has_aux=True)
    close((found.losses, found.aux), (expected(plain)[0], expected_aux(plain)))


def test_a_function_that_returns_no_pair_is_named(cases):
    case = cases["equal_shapes"]()
    with pytest.raises(ValueError, match=r"has_aux: the encoder of input group 'gt0' must return"):
        gradients.task_gradients(*case[:5], has_aux=True)
    encode = with_aux(case).encode
    with pytest.raises(ValueError, match=r"has_aux: the head of task 't0'.*\(loss, aux\)"):
        gradients.task_gradients(encode, *case[1:5], has_aux=True)
