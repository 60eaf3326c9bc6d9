import pytest
from jax.sharding import AbstractMesh

from mtljax.parallel import AXES
from mtljax.parallel.placement import TaskPlacement, choose_placement, divide_groups

ONE = {name: [f"task_{name}"] for name in "abcd"}
KINDS = dict.fromkeys("abcd", 0)


def chosen(shape, groups=ONE, kinds=KINDS, size=1000, rows=None):
    rows = rows or dict.fromkeys(groups, 8)
    return choose_placement(AbstractMesh(shape, AXES), groups, kinds, size, rows=rows)


def test_groups_of_one_kind_stand_side_by_side():
    kinds = {"a": "causal", "b": "both", "c": "causal", "d": "both"}
    assert divide_groups(ONE, 2, kinds) == (("a", "b"), ("c", "d"))
    assert divide_groups(ONE, 1, kinds) == (("a", "c", "b", "d"),)
    assert divide_groups(ONE, 4, kinds) == (("a",), ("c",), ("b",), ("d",))


def test_groups_of_several_tasks():
    groups = {"a": ["x", "y"], "b": ["z"], "c": ["u", "v"], "d": ["w"]}
    assert divide_groups(groups, 2, KINDS) == (("a", "b"), ("c", "d"))


@pytest.mark.parametrize(
    "groups, count, message",
    [
        (ONE, 3, "4 tasks cannot be divided among 3 devices"),
        ({"a": ["x", "y"]}, 2, "1 input groups of 2 tasks cannot be divided among 2"),
        ({"a": ["x", "y"], "b": ["z"], "c": ["w"]}, 2, "1 input groups of 2 tasks cannot"),
    ],
)
def test_what_cannot_be_divided(groups, count, message):
    with pytest.raises(ValueError, match=message):
        divide_groups(groups, count, KINDS)


def test_chosen_where_it_sends_less():
    choice = chosen((4, 2, 1), size=10**6)
    assert choice.groups_by_index == (("a",), ("b",), ("c",), ("d",))
    # 4 gradients all-reduced: 2 * 4 * 7/8; scattered, traded, gathered: 1/2 + 3/8 + 7/8.
    assert choice.reason == "1.75 MB sent by each device in a step, not 7 MB"


@pytest.mark.parametrize(
    "shape, options, reason",
    [
        ((1, 8, 1), {}, "the axis of tasks has one device"),
        ((2, 2, 2), {}, "the axis of features has several devices"),
        ((3, 1, 1), {}, "4 tasks cannot be divided among 3 devices of the task axis"),
        ((2, 4, 1), {"rows": {"a": 8, "b": 8, "c": 8, "d": 4}}, "input groups have unlike batches"),
    ],
)
def test_not_chosen(shape, options, reason):
    choice = chosen(shape, **options)
    assert choice.groups_by_index is None and choice.reason.startswith(reason)


def test_axes_of_a_placement():
    placement = TaskPlacement(AbstractMesh((2, 4, 1), AXES), ())
    assert (placement.task_axis, placement.data_axis, placement.axes) == (
        "task",
        "data",
        ("data", "task"),
    )
    placement = TaskPlacement(AbstractMesh((2, 1, 1), AXES), ())
    assert (placement.task_axis, placement.data_axis, placement.axes) == ("task", None, ("task",))
