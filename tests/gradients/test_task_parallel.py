"""Task-parallel gradients against those of plain losses; an axis of `jax.vmap` is the mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.gradients import task_parallel_gradients, task_parallel_order
from mtljax.gradients.task_parallel import check_groups_by_index


def call(case, groups_by_index):
    def of_device(_, shared, head_params, batch, key):
        return task_parallel_gradients(
            case.encode, case.heads, shared, head_params, batch, groups_by_index, "task", key=key
        )

    mapped = jax.vmap(of_device, (0, None, None, None, None), axis_name="task")
    arguments = (case.shared, case.head_params, case.batch, case.key)
    losses, shared, heads, _ = jax.jit(mapped)(jnp.arange(len(groups_by_index)), *arguments)
    order = task_parallel_order(case.batch, case.heads, groups_by_index)
    back = [order.index(task) for task in case.heads]
    losses, shared = jax.tree.map(
        lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[jnp.array(back)], (losses, shared)
    )
    return losses, shared, heads, order


def one_each(case):
    return [[name] for name in sorted(case.batch)]


@pytest.mark.parametrize(
    "name", ["equal_shapes", "unequal_heads", "unequal_shapes", "packed", "tied", "dropout", "one"]
)
def test_a_group_on_each_device(name, cases, expected, close):
    case = cases[name]()
    losses, shared, heads, _ = call(case, one_each(case))
    wanted = expected(case)
    np.testing.assert_allclose(losses, wanted[0], rtol=1e-5)
    close(shared, wanted[1])
    close(jax.tree.map(lambda leaf: leaf.sum(0), heads), wanted[2])
    owner = {name: index for index, (name,) in enumerate(one_each(case))}
    for group, examples in case.batch.items():
        for task in examples.targets:
            others = [index for index in range(len(case.batch)) if index != owner[group]]
            for leaf in jax.tree.leaves(heads[task]):
                assert not np.any(np.asarray(leaf)[others])


def test_two_groups_on_each_device(cases, expected, close):
    case = cases["equal_shapes"](4)
    first, second, third, fourth = sorted(case.batch)
    losses, shared, heads, order = call(case, [[fourth, second], [first, third]])
    tasks = {name: next(iter(rows.targets)) for name, rows in case.batch.items()}
    assert order == [tasks[name] for name in (fourth, second, first, third)]
    wanted = expected(case)
    np.testing.assert_allclose(losses, wanted[0], rtol=1e-5)
    close(shared, wanted[1])
    close(jax.tree.map(lambda leaf: leaf.sum(0), heads), wanted[2])


def test_all_groups_on_one_device(cases, expected, close):
    case = cases["groups"]()
    losses, shared, heads, _ = call(case, [sorted(case.batch)])
    wanted = expected(case)
    np.testing.assert_allclose(losses, wanted[0], rtol=1e-5)
    close(shared, wanted[1])
    close(jax.tree.map(lambda leaf: leaf.sum(0), heads), wanted[2])


@pytest.mark.parametrize(
    "groups_by_index, message",
    [
        ([["x"], ["y"]], r"equally many groups and tasks, got tasks \[\[2\], \[3\]\]"),
        ([["x"]], r"names the input groups \['x'\], there are \['x', 'y'\]"),
        ([["x", "y", "y"]], "names the input groups"),
        ([["x", "y"], []], "equally many groups"),
    ],
)
def test_groups_that_are_not_divided_evenly(cases, groups_by_index, message):
    with pytest.raises(ValueError, match=message):
        check_groups_by_index(cases["groups"]().batch, groups_by_index)
