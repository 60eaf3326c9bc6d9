"""Problems for the gradient engine, and their gradients by `jax.grad` of each plain loss."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.gradients import Examples, Unbatched


@pytest.fixture
def rng():
    return np.random.default_rng(0)


class Case(NamedTuple):
    """The arguments of `task_gradients`, and the strategies that it allows."""

    encode: Any
    heads: dict[str, Any]
    shared: Any
    head_params: dict[str, Any]
    batch: dict[str, Examples]
    key: Any = None
    strategies: tuple[str, ...] = ("auto", "unrolled", "vmapped", "scanned")


ANY_SHAPE = ("auto", "unrolled")


def reference(case: Case) -> tuple[np.ndarray, Any, dict[str, Any]]:
    """Losses ``[T]``, shared gradients ``[T, *param]`` and head gradients, one task at a time."""

    def run(shared, head_params):
        return [
            jax.value_and_grad(plain_loss(case, task, i), argnums=(0, 1))(shared, head_params[task])
            for i, task in enumerate(case.heads)
        ]

    losses, grads = zip(*jax.jit(run)(case.shared, case.head_params), strict=True)
    shared = jax.tree.map(lambda *leaves: np.stack(leaves), *(of_shared for of_shared, _ in grads))
    head_grads = dict(zip(case.heads, (of_head for _, of_head in grads), strict=True))
    return np.array(losses, np.float64), shared, head_grads


def plain_loss(case: Case, task: str, i: int) -> Callable[[Any, Any], jax.Array]:
    group_index, name = next(
        (g, n) for g, n in enumerate(sorted(case.batch)) if task in case.batch[n].targets
    )
    encode = case.encode[name] if isinstance(case.encode, dict) else case.encode
    encoder_keys, head_keys = (), ()
    if case.key is not None:
        encoder_keys = (jax.random.fold_in(case.key, group_index),)
        head_keys = (jax.random.fold_in(case.key, len(case.batch) + i),)

    def loss(shared, params):
        features = encode(shared, case.batch[name].inputs, *encoder_keys)
        return case.heads[task](params, features, case.batch[name].targets[task], *head_keys)

    return loss


def encode(shared, inputs):
    return jnp.tanh(inputs @ shared["kernel"] + shared["bias"]) * shared["scale"]


def regression(params, features, targets):
    return jnp.mean((features @ params - targets) ** 2)


def classification(params, features, targets):
    logits = features @ params["kernel"] + params["bias"]
    return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(targets)), targets])


def encode_packed(shared, inputs):
    """Tokens see the mean of their own segment; 0 is padding."""
    same = inputs["segments"][:, :, None] == inputs["segments"][:, None, :]
    same = same & (inputs["segments"] > 0)[:, None, :]
    vectors = shared["table"][inputs["ids"]]
    share = same / jnp.maximum(same.sum(-1, keepdims=True), 1)
    return jnp.tanh(vectors + share.astype(vectors.dtype) @ vectors @ shared["kernel"])


def tagging(params, features, targets):
    log_p = jax.nn.log_softmax(features @ params)
    picked = jnp.take_along_axis(log_p, targets["labels"][..., None], axis=-1)[..., 0]
    return -jnp.sum(picked * targets["weights"]) / jnp.sum(targets["weights"])


class Tied(NamedTuple):
    vectors: jax.Array
    table: Unbatched
    seen: jax.Array


def encode_tied(shared, inputs):
    vectors = jnp.tanh(shared["table"][inputs] @ shared["kernel"])
    return Tied(vectors, Unbatched(shared["table"]), inputs)


def next_word(params, features, targets):
    log_p = jax.nn.log_softmax(features.vectors @ features.table.value.T + params)
    picked = jnp.take_along_axis(log_p, targets[..., None], axis=-1)[..., 0]
    return -jnp.mean(jnp.where(features.seen > 1, picked, 0))


def encode_dropout(shared, inputs, key):
    out = encode(shared, inputs)
    return jnp.where(jax.random.bernoulli(key, 0.7, out.shape), out / 0.7, 0)


def regression_dropout(params, features, targets, key):
    kept = jax.random.bernoulli(key, 0.5, features.shape)
    return regression(params, jnp.where(kept, features, 0), targets)


CASES: dict[tuple[Any, ...], tuple[Case, Any]] = {}
"""Problems and their references by name and whether numbers have 64 bits."""


def kept(make: Callable[..., Case]) -> Callable[..., Case]:
    def get(*arguments: int) -> Case:
        key = make.__name__, *arguments, jax.config.jax_enable_x64
        if key not in CASES:
            case = make(*arguments)
            CASES[key] = case, reference(case)
        return CASES[key][0]

    return get


@pytest.fixture
def cases(rng) -> dict[str, Callable[..., Case]]:
    """By name, functions that give a problem, each made once."""

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), jax.dtypes.canonicalize_dtype(float))

    def whole(high, *shape):
        return jnp.asarray(rng.integers(0, high, shape))

    def dense():
        return {"kernel": normal(3, 4), "bias": normal(4), "scale": normal()}

    def layer(classes):
        return {"kernel": normal(4, classes), "bias": normal(classes)}

    def equal_shapes(tasks=3):
        names = [f"t{i}" for i in range(tasks)]
        batch = {f"g{n}": Examples(normal(6, 3), {n: normal(6)}) for n in reversed(names)}
        params = {n: normal(4) for n in names}
        return Case(encode, dict.fromkeys(names, regression), dense(), params, batch)

    def unequal_heads():
        heads = {"a": regression, "b": classification, "c": classification}
        params = {"a": normal(4), "b": layer(3), "c": layer(2)}
        targets = {"a": normal(6), "b": whole(3, 6), "c": whole(2, 6)}
        batch = {n: Examples(normal(6, 3), {n: targets[n]}) for n in ("c", "a", "b")}
        return Case(encode, heads, dense(), params, batch)

    def unequal_shapes():
        heads = {"a": regression, "b": classification, "c": regression}
        params = {"a": normal(4), "b": layer(3), "c": normal(4)}
        batch = {
            "second": Examples(normal(7, 3), {"b": whole(3, 7)}),
            "third": Examples(normal(2, 3), {"c": normal(2)}),
            "first": Examples(normal(5, 3), {"a": normal(5)}),
        }
        return Case(encode, heads, dense(), params, batch, strategies=ANY_SHAPE)

    def groups():
        """Several tasks in a group, two encoders, an order other than that of the heads."""
        heads = dict(a=regression, b=classification, c=regression, d=classification, e=regression)
        params = {"a": normal(4), "b": layer(3), "c": normal(4), "d": layer(2), "e": normal(4)}
        batch = {
            "x": Examples(normal(5, 3), {"e": normal(5), "b": whole(3, 5)}),
            "y": Examples(normal(4, 3), {"d": whole(2, 4), "a": normal(4), "c": normal(4)}),
        }
        encoders = {"y": encode, "x": lambda shared, inputs: jnp.sin(encode(shared, inputs))}
        return Case(encoders, heads, dense(), params, batch, strategies=ANY_SHAPE)

    def packed():
        shared = {"table": normal(11, 4), "kernel": normal(4, 4)}
        segments = np.sort(rng.integers(1, 4, (3, 2, 8)), axis=-1)
        segments[:, :, 6:] = 0
        batch = {}
        for i, n in enumerate("ab"):
            weights = jnp.where(segments[i] > 0, jnp.abs(normal(2, 8)), 0)
            targets = {"labels": whole(3, 2, 8), "weights": weights}
            inputs = {"ids": whole(11, 2, 8), "segments": jnp.asarray(segments[i])}
            batch[n] = Examples(inputs, {n: targets})
        heads = {"a": tagging, "b": tagging}
        return Case(encode_packed, heads, shared, {n: normal(4, 3) for n in heads}, batch)

    def tied():
        """A table next to the features, and integers among them."""
        shared = {"table": normal(9, 4), "kernel": normal(4, 4)}
        batch = {n: Examples(whole(9, 4, 5), {n: whole(9, 4, 5)}) for n in "abc"}
        heads = dict.fromkeys("abc", next_word)
        return Case(encode_tied, heads, shared, {n: normal(9) for n in "abc"}, batch)

    def tied_group():
        case = tied()
        inputs = case.batch["a"].inputs
        targets = {n: rows.targets[n] for n, rows in case.batch.items()}
        return case._replace(batch={"all": Examples(inputs, targets)}, strategies=ANY_SHAPE)

    def dropout():
        case = equal_shapes()
        heads = dict.fromkeys(case.heads, regression_dropout)
        return case._replace(encode=encode_dropout, heads=heads, key=jax.random.key(3))

    def dropout_group():
        """Heads of equal shapes read one group, each with a key of its own."""
        case = dropout()
        inputs = next(iter(case.batch.values())).inputs
        targets = {n: y for examples in case.batch.values() for n, y in examples.targets.items()}
        return case._replace(batch={"all": Examples(inputs, targets)}, strategies=ANY_SHAPE)

    def dropout_groups():
        case = groups()
        encoders = {"x": encode_dropout, "y": encode_dropout}
        heads = {n: lambda p, f, t, key, h=h: h(p, f, t) for n, h in case.heads.items()}
        heads["a"] = heads["e"] = regression_dropout
        return case._replace(encode=encoders, heads=heads, key=jax.random.key(3))

    def mixed_sets():
        """Two sets of alike groups, one of another shape, one of two tasks; orders that differ."""
        sizes = dict(g=5, f=3, e=5, d=2, c=3, b=5, a=4)
        heads = {n: regression_dropout for n in "abcdefgh"}
        inputs = {n: normal(size, 3) for n, size in sizes.items()}
        targets = {n: {n: normal(size)} for n, size in sizes.items()}
        targets["a"]["h"] = normal(4)
        batch = {f"of {n}": Examples(inputs[n], targets[n]) for n in sizes}
        params = {n: normal(4) for n in heads}
        key = jax.random.key(3)
        return Case(encode_dropout, heads, dense(), params, batch, key, strategies=ANY_SHAPE)

    def one():
        return equal_shapes(1)

    made = (equal_shapes, unequal_heads, unequal_shapes, groups, packed, tied, tied_group, dropout)
    return {
        make.__name__: kept(make)
        for make in (*made, dropout_group, dropout_groups, mixed_sets, one)
    }


@pytest.fixture
def expected():
    """The reference of a problem, computed once for those that are kept."""

    def find(case):
        return next(
            (result for known, result in CASES.values() if known is case), None
        ) or reference(case)

    return find


@pytest.fixture
def close():
    """Compares trees leaf by leaf, relative to the largest entry of a leaf."""

    def compare(found, wanted, rtol=1e-5):
        assert jax.tree.structure(found) == jax.tree.structure(wanted)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
            assert jnp.shape(a) == jnp.shape(b)
            a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
            size = np.abs(b).max(initial=1e-30)
            np.testing.assert_allclose(a, b, rtol=0, atol=rtol * size)

    return compare
