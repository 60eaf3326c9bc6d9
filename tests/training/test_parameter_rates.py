"""Which parameters learn, and how fast."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import weighting
from mtljax.errors import UserError
from mtljax.modules import EncoderConfig
from mtljax.presets import OptimizerConfig
from mtljax.step.method import as_method
from mtljax.training.check_config import check_parameters
from mtljax.training.model import initial_params
from mtljax.training.optimizer import make_optimizer
from mtljax.training.parameter_rates import (
    check_patterns,
    decayed,
    frozen_parameters,
    is_unfrozen,
    rate_factors,
)

ONES = {
    "shared": {
        "embedding": {"words": jnp.ones((5, 2))},
        "transformer": {
            "layers": {"up": {"kernel": jnp.ones((3, 2, 4)), "bias": jnp.ones((3, 4))}},
            "final_norm": {"scale": jnp.ones(2)},
        },
    },
    "heads": {"a": {"out": {"kernel": jnp.ones((2, 2))}}},
}
FLAT = OptimizerConfig(0.1, "constant", 0, clip_norm=0.0)


def by_path(tree):
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
            for path, leaf in jax.tree.leaves_with_path(tree)}  # fmt: skip


def test_every_layer_of_a_stack_has_its_factor():
    config = dataclasses.replace(
        FLAT, layer_decay=0.5, rates=("layers/0/.*kernel=0", "embedding=4", "^heads/=10", "up=2")
    )
    found = by_path(rate_factors(ONES, config))
    stack = "shared/transformer/layers/up"
    np.testing.assert_allclose(found[f"{stack}/kernel"].ravel(), [0, 2 / 4, 2 / 2])
    assert found[f"{stack}/kernel"].shape == (3, 1, 1)
    np.testing.assert_allclose(found[f"{stack}/bias"], [[2 / 8], [2 / 4], [2 / 2]])
    assert found["shared/embedding/words"] == 4 / 16
    assert found["shared/transformer/final_norm/scale"] == 1
    assert found["heads/a/out/kernel"] == 10


def test_layers_apart_count_like_stacked_ones():
    params = {"shared": {"embedding": {"words": jnp.ones((5, 2))},
                         "lstm": {"layer_0_recurrent": jnp.ones((2, 8)),
                                  "layer_1_inputs": {"kernel": jnp.ones((2, 8))}}}}  # fmt: skip
    found = by_path(rate_factors(params, dataclasses.replace(FLAT, layer_decay=0.5)))
    assert list(found.values()) == [1 / 8, 1 / 4, 1 / 2]


def test_private_layers_are_the_last_ones():
    """Stacked above one shared layer, and the whole height of what is added to all of them."""

    def stack(layers):
        return {"transformer": {"layers": {"up": {"kernel": jnp.ones((layers, 2, 4))}}}}

    private = {"a": stack(2), "b": {"lstm": {"layer_1_inputs": {"kernel": jnp.ones((2, 8))}}}}
    params = {"shared": {**stack(1), "sharing": stack(3)}, "private": private}
    config = dataclasses.replace(FLAT, layer_decay=0.5, rates=("layers/1/=4",))
    check_patterns(params, config, layers=3)
    with pytest.raises(UserError, match="'private/a/.*/layers/0/': found in the path of no"):
        rates = ("private/a/.*/layers/0/=1",)
        check_patterns(params, dataclasses.replace(FLAT, rates=rates), layers=3)
    found = by_path(rate_factors(params, config, layers=3))
    assert {path: leaf.ravel().tolist() for path, leaf in found.items()} == {
        "private/a/transformer/layers/up/kernel": [4 / 4, 1 / 2],
        "private/b/lstm/layer_1_inputs/kernel": [1 / 4],
        "shared/sharing/transformer/layers/up/kernel": [1 / 8, 4 / 4, 1 / 2],
        "shared/transformer/layers/up/kernel": [1 / 8],
    }


def test_names_of_tasks_and_heads_are_no_layers():
    kernel = {"out": {"kernel": jnp.ones((2, 3))}}
    params = {"shared": {"shared_heads": {"layers": kernel, "layer_7": kernel}},
              "private": {"layers": {"embedding": jnp.ones(4)}},
              "heads": {"layers": kernel}}  # fmt: skip
    config = dataclasses.replace(FLAT, layer_decay=0.5)
    assert all(
        leaf.shape == () and leaf == 1 for leaf in by_path(rate_factors(params, config)).values()
    )


def test_selectors_are_not_decayed_and_gates_are():
    own = {"selectors": {"z": jnp.ones((2, 3)), "logits": jnp.ones(2)}}
    gate = {"gate": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}
    assert decayed({"heads": {"a": {"sharing": own}, "b": {"sharing": gate}}}) == {
        "heads": {"a": {"sharing": {"selectors": {"z": False, "logits": False}}},
                  "b": {"sharing": {"gate": {"kernel": True, "bias": False}}}}
    }  # fmt: skip


def test_mixtures_are_not_decayed_stacked_or_not():
    of_task = {"core": jnp.ones((2, 2)), "mix": jnp.ones(3)}
    stacked = jax.tree.map(lambda leaf: leaf[None], of_task)
    assert decayed({"private": {"a": {"lstm": of_task}, "b": {"layers": stacked}}}) == {
        "private": {"a": {"lstm": {"core": True, "mix": False}},
                    "b": {"layers": {"core": True, "mix": False}}}
    }  # fmt: skip


def test_frozen_layers_count_all_the_same():
    only = {"shared": {"embedding": ONES["shared"]["embedding"]}}
    found = by_path(rate_factors(only, dataclasses.replace(FLAT, layer_decay=0.5), layers=3))
    assert found["shared/embedding/words"] == 1 / 16


def test_updates_are_those_of_the_plain_optimizer_times_the_factors():
    """Eager and under jit, with decay, whose share of the update is scaled too."""
    config = dataclasses.replace(FLAT, weight_decay=0.3, layer_decay=0.9, rates=("^heads=3",))
    grads = jax.tree.map(lambda leaf: jnp.sin(jnp.arange(leaf.size, dtype=jnp.float32)
                                              .reshape(leaf.shape)), ONES)  # fmt: skip
    plain = make_optimizer(dataclasses.replace(config, layer_decay=1.0, rates=()), 10)
    expected, _ = plain.update(grads, plain.init(ONES), ONES)
    expected = jax.tree.map(lambda u, f: u * f, expected, rate_factors(ONES, config))
    mine = make_optimizer(config, 10)
    for update in (mine.update, jax.jit(mine.update)):
        found, _ = update(grads, mine.init(ONES), ONES)
        jax.tree.map(
            lambda u, wanted: np.testing.assert_allclose(u, wanted, rtol=1e-5), found, expected
        )


def test_unfreezing_from_the_heads_down():
    config = dataclasses.replace(FLAT, unfreeze=2)
    optimizer = make_optimizer(config, 20)
    state, params = optimizer.init(ONES), ONES
    update = jax.jit(optimizer.update)
    first_move = {}
    for step in range(10):
        updates, state = update(ONES, state, params)
        for path, leaf in by_path(updates).items():
            parts = enumerate(leaf) if "/layers/" in path else [("", leaf)]
            for index, part in parts:
                if part.any():
                    first_move.setdefault(f"{path}{index}", step)
                    assert part.all()
    stack = "shared/transformer/layers/up/kernel"
    assert (
        first_move["heads/a/out/kernel"] == first_move["shared/transformer/final_norm/scale"] == 0
    )
    assert [first_move[f"{stack}{i}"] for i in range(3)] == [6, 4, 2]
    assert first_move["shared/embedding/words"] == 8
    learns = by_path(is_unfrozen(ONES, config, 1, jnp.array(4)))
    np.testing.assert_array_equal(learns[stack].ravel(), [False, True, True])


def test_frozen_paths():
    mask = by_path(frozen_parameters(ONES, ["^shared/embedding/", "bias$"]))
    assert [path for path, frozen in mask.items() if frozen] == [
        "shared/embedding/words",
        "shared/transformer/layers/up/bias",
    ]


@pytest.mark.parametrize(
    ("settings", "method", "message"),
    [
        ({"rates": ("heads",)}, "equal", r"optimizer.rates 'heads': expected REGEX=FACTOR"),
        ({"rates": ("heads=-1",)}, "equal", r"rates 'heads=-1': expected REGEX=FACTOR"),
        ({"rates": ("heads=nan",)}, "equal", r"rates 'heads=nan': expected REGEX=FACTOR"),
        ({"rates": ("(=1",)}, "equal", r"rates '\(': no regular expression"),
        (
            {"rates": ("tail=1",)},
            "equal",
            r"rates 'tail': found in the path of no parameter \(head",
        ),
        ({"frozen": ("layers/9/",)}, "equal", r"frozen 'layers/9/': found in the path of no"),
        ({"frozen": ("layers/0/",)}, "equal", r"stacked layers are frozen all or none"),
        # Also where it finds something else as well, which alone would be frozen.
        ({"frozen": ("embedding/|layers/0/",)}, "equal", r"stacked layers are frozen all or none"),
        ({"frozen": ("",)}, "equal", r"optimizer.frozen: all parameters are"),
        ({"frozen": ("^shared",)}, "upgrad", r"all shared parameters are, so that there are no"),
    ],
)
def test_bad_settings(make, plain, tasks, settings, method, message):
    config = dataclasses.replace(
        plain,
        encoder=EncoderConfig(kind="transformer", embedding=8, features=8, heads=2, feed_forward=8),
        optimizer=dataclasses.replace(plain.optimizer, **settings),
    )
    model, _ = make(config, (tasks["label"],))
    with pytest.raises(UserError, match=message) as raised:
        check_parameters(config, model, as_method(weighting.METHODS[method]()))
    assert "\n" not in str(raised.value)


def test_every_kind_of_encoder_has_a_first_and_a_last_layer(make, plain, tasks):
    for kind in ("lstm", "linear", "transformer"):
        encoder = EncoderConfig(
            kind=kind, embedding=4, features=8, layers=2, heads=2, feed_forward=8, dense=3,
            ngram_buckets=8,
        )  # fmt: skip
        config = dataclasses.replace(plain, encoder=encoder)
        model, _ = make(config, (tasks["label"],))
        params = jax.eval_shape(lambda model=model: initial_params(model))
        half = dataclasses.replace(plain.optimizer, layer_decay=0.5)
        found = by_path(rate_factors(params, half, layers=2))
        assert found["shared/dense/kernel"] == 1 and found["shared/embedding/words"] == 1 / 8
        between = {float(x) for path, leaf in found.items() for x in leaf.ravel()
                   if "layer" in path}  # fmt: skip
        assert between == (set() if kind == "linear" else {1 / 4, 1 / 2})
        assert {float(found[path]) for path in found if "project" in path or "ngrams" in path} == (
            set() if kind == "lstm" else {1 / 8}
        )
