"""Experts at the output of an encoder, mixed in the heads."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.kinds import KINDS
from mtljax.modules import (
    DecoderConfig,
    EncoderConfig,
    HeadsConfig,
    HeadSpec,
    SharingConfig,
    build,
    encode,
    encode_together,
    init,
    kv_cache_decoding,
    predict,
)
from mtljax.modules.structures import (
    draw,
    draw_in_head,
    merged_parameters,
    mixed,
    structure_of,
)
from mtljax.sharing import Level
from tests.sharing.test_ple import naive

TASKS = ("z", "y")  # not in the order of their names
D, M, E = 6, 5, 4
STRUCTURES = {
    "mmoe": SharingConfig("mmoe", experts=E, width=M),
    "cgc": SharingConfig("cgc", experts=E, private_experts=2, width=M),
    "dselect_k": SharingConfig("dselect_k", experts=E, chosen=3, width=M),
    "ple": SharingConfig("ple", experts=E, private_experts=2, width=M, levels=3),
}


def network(sharing=SharingConfig(), **options):  # noqa: B008 - immutable
    """Both tasks read the same rows."""
    specs = {task: HeadSpec(KINDS["regression"].head, 1, "rows") for task in TASKS}
    config = EncoderConfig("linear", embedding=D, ngram_buckets=32)
    attention = {"rows": "causal"}
    return build(config, HeadsConfig(), specs, attention, 20, sharing=sharing, **options)


@pytest.fixture
def batch(rng):
    tokens = rng.integers(4, 20, (3, 6)).astype(np.int32)
    positions = np.tile(np.arange(6, dtype=np.int32), (3, 1))
    return {"tokens": tokens, "segments": np.ones_like(tokens), "positions": positions}


def moved(net, batch, rng):
    shapes = jax.eval_shape(lambda: init(net, jax.random.key(0), {"rows": batch}))
    return jax.tree.map(lambda x: rng.normal(0, 0.4, x.shape).astype(x.dtype), shapes)


def predicted(net, params, batch):
    """What each task predicts, from one program."""

    @jax.jit
    def run(params):
        read = encode(net, params["shared"], "rows", batch)
        return {task: predict(net, params["heads"][task], task, read, 1) for task in TASKS}

    return run(params)


def softmax(x):
    shares = np.exp(x - x.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def by_hand(sharing, x, shared, own):
    """The features of a task, expert by expert."""

    def added(part, e):
        inside = np.maximum(x @ part["down"]["kernel"][e] + part["down"]["bias"][e], 0)
        return inside @ part["up"]["kernel"][e] + part["up"]["bias"][e]

    outputs = [added(shared, e) for e in range(E)]
    if sharing.structure == "cgc":
        outputs += [added(own["experts"], e) for e in range(2)]
    if sharing.structure == "dselect_k":
        z, shares = own["selectors"]["z"], 0
        on = np.clip(0.5 + 1.5 * z - 2 * z**3, 0, 1)
        on = np.where(z <= -0.5, 0, np.where(z >= 0.5, 1, on))
        for share, (low, high) in zip(softmax(own["selectors"]["logits"]), on, strict=True):
            bits = [(1 - low) * (1 - high), low * (1 - high), (1 - low) * high, low * high]
            shares = shares + share * np.array(bits)
        shares = np.broadcast_to(shares, (*x.shape[:2], E))
    else:
        shares = softmax(x @ own["gate"]["kernel"] + own["gate"]["bias"])
    return x + sum(shares[..., e, None] * output for e, output in enumerate(outputs))


def levels_by_hand(x, shared, heads):
    """The features of every task, position by position and level by level."""

    def experts(tree):
        return [tree[part][leaf] for part in ("down", "up") for leaf in ("kernel", "bias")]

    def gate(tree):
        return tree["kernel"], tree["bias"]

    order, levels = sorted(heads), []
    for i in (1, 2):
        level = shared[f"level_{i}"]
        own = [np.stack(leaves) for leaves in zip(
            *(experts(level["tasks"][task]["experts"]) for task in order), strict=True
        )]  # fmt: skip
        gates = None
        if i == 1:
            both = [gate(level["tasks"][task]["gate"]) for task in order]
            gates = tuple(np.stack(leaves) for leaves in zip(*both, strict=True))
        levels.append(Level(experts(level["experts"]), own, gate(level["gate"]), gates))
    heads = [heads[task]["sharing"] for task in order]
    of_tasks = [
        naive(
            one,
            levels,
            [gate(head["below"]) for head in heads],
            [experts(head["experts"]) for head in heads],
            [gate(head["gate"]) for head in heads],
            experts(shared["experts"]),
        )
        for one in x.reshape(-1, D)
    ]
    return {task: np.reshape([o[t] for o in of_tasks], x.shape) for t, task in enumerate(order)}


@pytest.mark.parametrize("name", STRUCTURES)
def test_features_parameters_and_gradients(name, rng, batch):
    sharing = STRUCTURES[name]
    net, plain = network(sharing), network()
    params = moved(net, batch, rng)
    shared = params["shared"]
    encoder = {part: leaf for part, leaf in shared.items() if part != "sharing"}
    x = np.asarray(jax.jit(lambda read: encode(plain, read, "rows", batch).hidden)(encoder))

    def features(params):
        read = encode(net, params["shared"], "rows", batch)
        return {
            task: mixed(sharing, read, params["heads"][task], TASKS, task)[0].hidden
            for task in TASKS
        }

    features = jax.jit(features)
    found = features(params)
    for task in TASKS:
        own = params["heads"][task]["sharing"]
        if name == "ple":
            expected = levels_by_hand(x, shared["sharing"], params["heads"])[task]
        else:
            expected = by_hand(sharing, x, shared["sharing"]["experts"], own)
        np.testing.assert_allclose(found[task], expected, 1e-4, 1e-5)

    if name == "ple":  # as all begin, see below
        assert begins_with_nothing(sharing, net.encoder.config)
        still = jax.tree_util.tree_map_with_path(
            lambda path, leaf: 0 * leaf if "up" in jax.tree_util.keystr(path) else leaf, params
        )
        for hidden in features(still).values():
            np.testing.assert_allclose(hidden, x, 1e-6)

    def count(tree):
        return sum(leaf.size for leaf in jax.tree.leaves(tree))

    one = 2 * D * M + M + D
    below = 2 * ((E + 4) * one + (D + 1) * (E + 4)) + 2 * (D + 1) * (E + 2)  # levels 1 and 2
    assert count(shared["sharing"]) == E * one + (below if name == "ple" else 0)
    own = {"mmoe": (D + 1) * E, "cgc": (D + 1) * (E + 2) + 2 * one, "dselect_k": 3 * (2 + 1)}
    own["ple"] = own["cgc"] + (D + 1) * (E + 2)
    assert count(params["heads"]["z"]["sharing"]) == own[name]

    def number(params):
        read = encode(net, params["shared"], "rows", batch)
        head = params["heads"]["y"]
        return jnp.sum(jnp.sin(predict(net, head, "y", read, 1)))

    if name == "dselect_k":  # where the steps have slopes
        params["heads"]["y"]["sharing"]["selectors"]["z"] *= 0.1
    gradient = jax.jit(jax.grad(number))(params)
    used = gradient["shared"]["sharing"], gradient["heads"]["y"]["sharing"]
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(used))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient["heads"]["z"]))


def begins_with_nothing(sharing, config):
    """Whether all that experts make is 0 as they are drawn."""

    @jax.jit
    def begin(key):
        return draw(sharing, config, {}, TASKS, key), draw_in_head(sharing, TASKS, "y", D, key)

    drawn = begin(jax.random.key(0))
    ups = [leaf for path, leaf in jax.tree.leaves_with_path(drawn)
           if "up" in jax.tree_util.keystr(path)]  # fmt: skip
    return len(ups) > 0 and not any(np.any(leaf) for leaf in ups)


@pytest.mark.parametrize("name", sorted(STRUCTURES.keys() - {"ple"}))
def test_begins_as_hard_sharing(name, batch):
    net, plain = network(STRUCTURES[name]), network()
    batches = {"rows": batch}

    @jax.jit
    def run(key):
        params, hard = init(net, key, batches), init(plain, key, batches)
        return params, hard, predicted(net, params, batch), predicted(plain, hard, batch)

    params, hard, found, expected = run(jax.random.key(0))
    for task in TASKS:
        own = params["heads"][task].keys() - {"sharing"}
        assert own == hard["heads"][task].keys()
        np.testing.assert_array_equal(found[task], expected[task])
    with pytest.raises(ValueError, match=f"structure '{name}': is no update"):
        merged_parameters(net.sharing, params["shared"])


def test_one_expert_has_all_the_share(rng, batch):
    sharing = SharingConfig("mmoe", experts=1, width=M)
    net = network(sharing)
    params = moved(net, batch, rng)

    @jax.jit
    def run(params):
        read = encode(net, params["shared"], "rows", batch)
        return [
            mixed(sharing, read, params["heads"][task], TASKS, task)[0].hidden for task in TASKS
        ]

    np.testing.assert_array_equal(*run(params))


def test_one_level_is_cgc(rng, batch):
    one = network(SharingConfig("ple", experts=E, private_experts=2, width=M, levels=1))
    cgc = network(STRUCTURES["cgc"])
    params = moved(one, batch, rng)
    found = [predicted(net, params, batch)["z"] for net in (one, cgc)]
    np.testing.assert_array_equal(*found)
    made = jax.eval_shape(lambda: init(cgc, jax.random.key(0), {"rows": batch}))
    assert jax.tree.structure(made) == jax.tree.structure(params)


def test_one_pass_and_decoding_pack_the_same(rng, batch):
    net = network(STRUCTURES["cgc"])
    shared = moved(net, batch, rng)["shared"]

    @jax.jit
    def run(shared):
        whole = encode(net, shared, "rows", batch).hidden
        together = encode_together(net, shared, {"rows": batch})["rows"].hidden
        prompts = {field: values[:, :5] for field, values in batch.items()}
        features, cache = kv_cache_decoding.prefill(net, shared, "rows", prompts, 1)
        ready, last = kv_cache_decoding.prepare(net, shared), jnp.asarray(batch["tokens"][:, 5])
        step, _ = kv_cache_decoding.decode_step(net, ready, cache, last, None, jnp.asarray(0))
        return whole, together, jnp.concatenate([features.hidden, step.hidden], axis=1)

    whole, together, decoded = run(shared)
    assert whole.shape == (3, 6, (1 + E) * D)
    np.testing.assert_allclose(together, whole, 1e-5, 1e-6)
    np.testing.assert_allclose(decoded, whole, 1e-5, 1e-6)


def test_the_penalty_of_selectors_is_their_mean_entropy():
    sharing = dataclasses.replace(STRUCTURES["dselect_k"], entropy=0.5)
    even = {"sharing": {"selectors": {"z": np.zeros((3, 2), np.float32)}}}
    certain = {"sharing": {"selectors": {"z": np.ones((3, 2), np.float32)}}}
    params = {"heads": {"y": even, "z": certain}}
    penalty = structure_of(sharing).penalty
    assert penalty is not None
    found = jax.jit(lambda params: penalty(sharing, params))(params)
    np.testing.assert_allclose(found, 0.5 * np.log(4) / 2, 1e-6)


@pytest.mark.parametrize(
    ("sharing", "options", "message"),
    [
        (SharingConfig("dselect_k", experts=4, chosen=5), {}, "chosen 5: more than the 4 experts"),
        (SharingConfig("dselect_k", experts=6), {}, "experts 6: 'dselect_k' wants a power of 2"),
        (STRUCTURES["mmoe"], dict(decoder=DecoderConfig(layers=1)), "'mmoe': not with decoder"),
    ],
)
def test_what_cannot_be(sharing, options, message):
    with pytest.raises(ValueError, match=message):
        network(sharing, **options)
