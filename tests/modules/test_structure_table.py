"""The table of structures and the options of a configuration name the same."""

import dataclasses
import typing

import jax
import numpy as np
import pytest

from mtljax.kinds import KINDS
from mtljax.modules import EncoderConfig, HeadsConfig, HeadSpec, SharingConfig, build, init
from mtljax.modules.structures import STRUCTURES


def test_the_table_has_what_can_be_asked_for():
    hints = typing.get_type_hints(SharingConfig)
    assert tuple(STRUCTURES) == typing.get_args(hints["structure"])
    fields = {field.name for field in dataclasses.fields(SharingConfig)}
    of_structures = {name for value in STRUCTURES.values() for name in value.fields}
    # Others decide how parameters begin and are trained, not which there are.
    others = {"structure", "entropy", "own_share", "freeze", "adversary", "orthogonality"}
    assert of_structures | others == fields


def shared_shapes(sharing, count):
    """Of the shared parameters of a model of so many tasks; nothing is compiled or computed."""
    specs = {f"t{i}": HeadSpec(KINDS["regression"].head, 1, f"t{i}") for i in range(count)}
    config = EncoderConfig("transformer", embedding=8, features=8, layers=2, heads=2)
    modes = dict.fromkeys(specs, "bidirectional")
    net = build(config, HeadsConfig(), specs, modes, 20, sharing=sharing)
    rows = jax.ShapeDtypeStruct((2, 4), np.int32)
    batch = dict.fromkeys(("tokens", "segments", "positions"), rows)
    key = jax.eval_shape(lambda: jax.random.key(0))
    drawn = jax.eval_shape(lambda k, b: init(net, k, dict.fromkeys(specs, b)), key, batch)
    return jax.tree.map(lambda leaf: leaf.shape, drawn["shared"])


@pytest.mark.parametrize("name", STRUCTURES)
def test_what_is_shared_grows_with_the_tasks_where_the_structure_says_so(name):
    sharing = SharingConfig(name, width=4)
    grows = shared_shapes(sharing, 2) != shared_shapes(sharing, 3)
    assert grows == STRUCTURES[name].of_all_tasks(sharing)
