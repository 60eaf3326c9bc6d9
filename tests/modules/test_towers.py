"""Towers of layers: mixed after each layer, or private ones beside a shared one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.kinds import KINDS
from mtljax.modules import (
    EncoderConfig,
    HeadsConfig,
    HeadSpec,
    LSTMEncoder,
    SharingConfig,
    build,
    encode,
    init,
    logical_axes,
    shared_and_private,
)
from mtljax.modules.structures import draw, mixed
from mtljax.sharing import cross_stitch, near_identity, stitched

TASKS = ("z", "y", "x")  # not in the order of their names
D, LAYERS = 6, 2
ENCODERS = {
    "transformer": dict(kind="transformer", heads=1, feed_forward=5, layers=LAYERS, dense=4),
    "lstm": dict(kind="lstm", layers=LAYERS),
}
STITCH = SharingConfig("cross_stitch", own_share=0.8)


def network(kind, sharing=SharingConfig()):  # noqa: B008 - immutable
    specs = {task: HeadSpec(KINDS["regression"].head, 1, "rows") for task in TASKS}
    config = EncoderConfig(embedding=4, features=D, **ENCODERS[kind])
    return build(config, HeadsConfig(), specs, {"rows": "causal"}, 20, sharing=sharing)


@pytest.fixture
def batch(rng):
    tokens = rng.integers(4, 20, (2, 5)).astype(np.int32)
    positions = np.array([[0, 1, 2, 0, 1], [0, 1, 2, 3, 4]], np.int32)
    segments = np.array([[1, 1, 1, 2, 2], [1, 1, 1, 1, 1]], np.int32)
    return {"tokens": tokens, "segments": segments, "positions": positions}


def moved(net, batch, rng):
    shapes = jax.eval_shape(lambda: init(net, jax.random.key(0), {"rows": batch}))
    return jax.tree.map(lambda x: rng.normal(0, 0.5, x.shape).astype(x.dtype), shapes)


def features(net, params, batch):
    read = encode(net, params["shared"], "rows", batch)
    return {
        task: mixed(net.sharing, read, params["heads"][task], TASKS, task)[0].hidden
        for task in TASKS
    }


def test_units_against_loops():
    rng = np.random.default_rng(0)
    towers, shares = rng.normal(size=(3, 2, 4)), rng.normal(size=(3, 3))
    expected = [sum(shares[i, j] * towers[j] for j in range(3)) for i in range(3)]
    with jax.enable_x64(True):
        args = jnp.asarray(towers), jnp.asarray(shares)
        row = jax.vmap(lambda x, shares: stitched(x, shares, "towers"), axis_name="towers")
        for found in (cross_stitch(*args), jax.jit(row)(*args)):
            assert found.dtype == np.float64
            np.testing.assert_allclose(found, expected, 1e-12)
    np.testing.assert_allclose(near_identity(3, 0.8), np.full((3, 3), 0.1) + 0.7 * np.eye(3), 1e-6)
    np.testing.assert_array_equal(near_identity(1, 0.8), [[1]])


@pytest.mark.parametrize("kind", ENCODERS)
def test_begins_as_hard_sharing_and_all_tasks_train_all_towers(kind, rng, batch):
    base, net = network(kind), network(kind, STITCH)
    hard, params = moved(base, batch, rng), moved(net, batch, rng)
    begin = jax.jit(lambda hard: draw(STITCH, net.encoder.config, hard, TASKS, jax.random.key(0)))
    shared, private = begin(hard["shared"])
    assert not private
    rows = {task: {"sharing": {"stitch": near_identity(3, 0.8)[i]}}
            for i, task in enumerate(sorted(TASKS))}  # fmt: skip

    def number(params):
        found = features(net, params, batch)
        return jnp.sum(jnp.sin(2 * found["y"])), found

    differentiate = jax.jit(jax.grad(number, has_aux=True))
    start = {"shared": shared, "heads": {t: params["heads"][t] | rows[t] for t in TASKS}}
    _, found = differentiate(start)
    of_base = jax.jit(lambda shared: encode(base, shared, "rows", batch).hidden)
    plain = np.asarray(of_base(hard["shared"]))
    for task in TASKS:
        np.testing.assert_allclose(found[task], plain, 1e-4, 1e-5)

    # Parameters by the formula: the layers and what is above them once a task.
    def count(tree):
        return sum(leaf.size for leaf in jax.tree.leaves(tree))

    above = {"dense": hard["shared"].get("dense", {})}
    above |= {n: p for n, p in hard["shared"][kind].items() if n != "project"}
    assert count(shared) == count(hard["shared"]) + 2 * count(above) + (LAYERS - 1) * 9
    assert rows["y"]["sharing"]["stitch"].shape == (3,)
    names = jax.tree.structure(logical_axes(net, start), is_leaf=lambda x: isinstance(x, tuple))
    assert names == jax.tree.structure(start)

    # One task's loss moves all that is shared, and of the heads' mixtures its own.
    gradient, _ = differentiate(params)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient["shared"]))
    assert np.all(gradient["heads"]["y"]["sharing"]["stitch"] != 0)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient["heads"]["z"]))

    # Where towers do not meet, each is an encoder of its own.
    alone = params["shared"]["sharing"] | {"stitches": np.eye(3, dtype=np.float32)[None]}
    heads = {task: {"sharing": {"stitch": np.eye(3, dtype=np.float32)[i]}}
             for i, task in enumerate(sorted(TASKS))}  # fmt: skip
    apart = {"shared": params["shared"] | {"sharing": alone}}
    apart["heads"] = {t: params["heads"][t] | heads[t] for t in TASKS}
    _, found = differentiate(apart)
    for task in TASKS:
        tower = alone["towers"][task]
        whole = {name: leaf for name, leaf in params["shared"].items() if name != "sharing"}
        whole |= {name: whole.get(name, {}) | part for name, part in tower.items()}
        np.testing.assert_allclose(found[task], of_base(whole), 1e-4, 1e-5)


def test_layers_of_all_towers_layer_by_layer(rng, batch):
    net = network("lstm", STITCH)
    params = moved(net, batch, rng)
    own, words = params["shared"]["sharing"], params["shared"]["embedding"]["words"]
    one, order = LSTMEncoder(D), sorted(TASKS)
    layer = jax.jit(lambda params, x: one.apply({"params": params}, x, batch["segments"],
                                                train=False))  # fmt: skip

    def of(task, i):
        tower = own["towers"][task]["lstm"]
        return {name.replace(f"_{i}_", "_0_"): leaf for name, leaf in tower.items()
                if name.startswith(f"layer_{i}_")}  # fmt: skip

    x = words[batch["tokens"]]
    below = [np.asarray(layer(of(task, 0), x)) for task in order]
    read = [sum(own["stitches"][0, i, j] * below[j] for j in range(3)) for i in range(3)]
    above = [np.asarray(layer(of(task, 1), read[i])) for i, task in enumerate(order)]
    found = jax.jit(lambda params: features(net, params, batch))(params)
    for task in TASKS:
        row = params["heads"][task]["sharing"]["stitch"]
        expected = sum(row[j] * above[j] for j in range(3))
        np.testing.assert_allclose(found[task], expected, 1e-4, 1e-5)


@pytest.mark.parametrize("kind", ENCODERS)
def test_private_towers_beside_a_shared_one(kind, rng, batch):
    config = EncoderConfig(embedding=4, features=D, **ENCODERS[kind])
    specs = {task: HeadSpec(KINDS["regression"].head, 1, task) for task in TASKS}
    modes = dict.fromkeys(TASKS, "causal")
    sharing = SharingConfig("asp_mtl")
    net = build(config, HeadsConfig(), specs, modes, 20, sharing=sharing)
    base = network(kind)
    shapes = jax.eval_shape(lambda: init(net, jax.random.key(0), dict.fromkeys(TASKS, batch)))
    params = jax.tree.map(lambda x: rng.normal(0, 0.5, x.shape).astype(x.dtype), shapes)
    plain = {name: leaf for name, leaf in params["shared"].items() if name != "sharing"}
    own, width = params["private"]["y"], net.encoder.config.dense or D
    classifier = params["shared"]["sharing"]["classifier"]
    assert classifier["kernel"].shape == (width, 3) and classifier["bias"].shape == (3,)
    join = params["heads"]["y"]["sharing"]["join"]["kernel"]
    assert join.shape == (width, width)

    def read(params):
        hidden = encode(net, shared_and_private(net, params, "y"), "y", batch)
        mixture, _ = mixed(sharing, hidden, params["heads"]["y"], TASKS, "y")
        return mixture.hidden, hidden.hidden[..., 2 * width :]

    of_base = jax.jit(lambda shared: encode(base, shared, "rows", batch).hidden)
    of_net = jax.jit(read)
    tower = {name: plain.get(name, {}) | part for name, part in own.items()}
    shared, private = np.asarray(of_base(plain)), np.asarray(of_base(plain | tower))
    found, logits = of_net(params)
    np.testing.assert_allclose(found, shared + private @ join, 1e-4, 1e-5)
    expected = shared @ classifier["kernel"] + classifier["bias"]
    np.testing.assert_allclose(logits, expected, 1e-4, 1e-5)

    # It begins as hard sharing, the private towers as the shared one.
    first, copies = jax.jit(lambda plain: draw(sharing, config, plain, TASKS, jax.random.key(0)))(
        plain
    )
    of_tower = {name: {n: plain[name][n] for n in part} for name, part in copies["y"].items()}
    jax.tree.map(np.testing.assert_array_equal, copies["y"], of_tower)
    assert jax.tree.structure(copies["y"]) == jax.tree.structure(own)
    head = params["heads"]["y"] | {"sharing": {"join": {"kernel": 0 * join}}}
    found, logits = of_net({"shared": first, "private": copies, "heads": {"y": head}})
    np.testing.assert_allclose(found, shared, 1e-5, 1e-6)
    assert not np.any(logits)


def test_what_cannot_be():
    specs = {"w": HeadSpec(KINDS["language_model"].head, 5, "rows", np.arange(5))}
    modes = {"rows": "causal"}
    for kind, message in (("lstm", "task 'w' writes text"), ("linear", "linear encoder has no")):
        config = EncoderConfig(kind, embedding=4, features=D)
        with pytest.raises(ValueError, match=f"^structure 'cross_stitch': .*{message}"):
            build(config, HeadsConfig(), specs if kind == "lstm" else {}, modes, 20, sharing=STITCH)
