"""Losses of one pass over all input groups, against `jax.grad` of each plain loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import gradients
from mtljax.gradients import DrawsByRow, Examples, Unbatched


def together(encode, calls=None):
    """An encoder of all groups from one that encodes rows one by one."""

    def run(shared, inputs, *keys):
        if calls is not None:
            calls.append(len(inputs))
        sizes = np.cumsum([jax.tree.leaves(x)[0].shape[0] for x in inputs.values()])[:-1]
        joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *inputs.values())
        nodes, structure = jax.tree.flatten(
            encode(shared, joined, *keys), is_leaf=lambda node: isinstance(node, Unbatched)
        )
        parts = [
            [node] * len(inputs) if isinstance(node, Unbatched) else jnp.split(node, sizes)
            for node in nodes
        ]
        groups = zip(*parts, strict=True)
        return {
            name: structure.unflatten(of_group)
            for name, of_group in zip(inputs, groups, strict=True)
        }

    return run


def gradient(case, encode_together, weights):
    """Losses, and the gradient of their weighted sum."""

    def weighted(shared, head_params, batch, key):
        losses = gradients.task_losses(
            *(case.encode, case.heads, shared, head_params, batch),
            key=key,
            encode_together=encode_together,
        )
        return losses @ weights, losses

    run = jax.jit(jax.grad(weighted, argnums=(0, 1), has_aux=True))
    return run(case.shared, case.head_params, case.batch, case.key)


@pytest.mark.parametrize(
    "name", ["equal_shapes", "unequal_heads", "unequal_shapes", "packed", "tied"]
)
def test_equal_to_the_plain_losses(name, cases, expected, close):
    case, calls = cases[name](), []
    weights = np.linspace(0.5, -2, len(case.heads))
    (shared, heads), losses = gradient(case, together(case.encode, calls), jnp.asarray(weights))
    assert calls == [len(case.batch)]
    wanted, wanted_shared, wanted_heads = expected(case)
    close(losses, wanted)
    close(shared, jax.tree.map(lambda leaf: np.tensordot(weights, leaf, 1), wanted_shared))
    for weight, task in zip(weights, case.heads, strict=True):
        close(heads[task], jax.tree.map(lambda leaf, w=weight: w * leaf, wanted_heads[task]))


def test_heads_of_one_group_and_of_several_are_alike(cases, close):
    """Some tasks share a group, others have one of their own, all with one head."""
    case = cases["equal_shapes"](5)
    first, second, *others = case.batch.values()
    batch = {"both": Examples(first.inputs, first.targets | second.targets)}
    batch |= {f"of_{i}": examples for i, examples in enumerate(others)}
    case, weights = case._replace(batch=batch), jnp.arange(1.0, 6)
    found = gradient(case, together(case.encode), weights)
    close(found, gradient(case, None, weights))


def test_rows_draw_the_same_in_any_pass(cases, close):
    """With an encoder that draws by row, groups have one key, which is that of the one pass."""
    case = cases["equal_shapes"]()
    plain = case.encode

    def encode(shared, inputs, key):
        x, rows = inputs
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, rows)
        kept = jax.vmap(lambda key: jax.random.bernoulli(key, 0.5, (4,)))(keys)
        return jnp.where(kept, plain(shared, x), 0)

    batch = {
        name: Examples((examples.inputs, 10 * i + jnp.arange(6)), examples.targets)
        for i, (name, examples) in enumerate(case.batch.items())
    }
    heads = dict.fromkeys(case.heads, lambda params, features, targets, key: jnp.mean(
        (features @ params - targets) ** 2
    ))  # fmt: skip
    key, weights = jax.random.key(3), jnp.arange(1.0, 4)
    case = case._replace(encode=DrawsByRow(encode), heads=heads, batch=batch, key=key)
    one = gradient(case, together(encode), weights)
    close(one, gradient(case, None, weights))
    assert not np.allclose(one[1], gradient(case._replace(key=jax.random.key(4)), None, weights)[1])


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda features: {"gt0": features["gt0"]}, r"must return the input groups \['gt0', 'gt1'"),
        (
            lambda features: {n: x[..., :2] for n, x in features.items()},
            "group 'gt0' .* other feat",
        ),
    ],
)
def test_other_groups_or_features_are_errors(returned, message, cases):
    case = cases["equal_shapes"]()
    run = together(case.encode)
    with pytest.raises(ValueError, match=message):
        gradients.task_losses(
            *case[:5], encode_together=lambda shared, inputs: returned(run(shared, inputs))
        )
