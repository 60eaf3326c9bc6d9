"""The table of structures and the options of a configuration name the same."""

import dataclasses
import typing

from mtljax.modules import SharingConfig
from mtljax.modules.structures import STRUCTURES


def test_the_table_has_what_can_be_asked_for():
    hints = typing.get_type_hints(SharingConfig)
    assert tuple(STRUCTURES) == typing.get_args(hints["structure"])
    fields = {field.name for field in dataclasses.fields(SharingConfig)}
    of_structures = {name for value in STRUCTURES.values() for name in value.fields}
    # Others decide how parameters begin and are trained, not which there are.
    others = {"structure", "entropy", "own_share", "freeze", "adversary", "orthogonality"}
    assert of_structures | others == fields
