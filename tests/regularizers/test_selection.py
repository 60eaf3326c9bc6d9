from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import regularizers


class Layer(NamedTuple):
    kernel: jax.Array
    bias: jax.Array


PARAMS = {
    "encoder": Layer(jnp.ones((2, 3)), jnp.ones(3)),
    "heads": [Layer(jnp.ones(5), jnp.ones(1))],
}


@pytest.mark.parametrize(
    ("select", "elements"),
    [
        ("kernel", 11),
        ("^heads/", 6),
        ("^heads/0/kernel$", 5),
        (lambda path, leaf: leaf.ndim > 1, 6),
        (lambda path, leaf: path.endswith("bias"), 4),
    ],
)
def test_only_the_chosen_leaves_are_penalised(select, elements):
    penalty = jax.jit(regularizers.on(regularizers.l2, select))
    assert penalty(PARAMS) == elements / 2
    touched = sum(np.count_nonzero(g) for g in jax.tree.leaves(jax.grad(penalty)(PARAMS)))
    assert touched == elements


def test_arguments_are_passed_on():
    penalty = regularizers.on(regularizers.group_lasso, "encoder/kernel")
    assert penalty(PARAMS, 1, scale_by_size=False) == pytest.approx(3 * 2**0.5)


def test_nothing_chosen_names_what_there_is():
    with pytest.raises(ValueError, match="encoder/kernel"):
        regularizers.on(regularizers.l2, "decoder")(PARAMS)


def test_a_broken_pattern_is_an_error_at_once():
    with pytest.raises(ValueError, match="regular expression"):
        regularizers.on(regularizers.l2, "(")
